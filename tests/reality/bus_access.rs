//! A fleet on a Redis that lets it do no more than it must, speaks TLS, is a Redis Cluster, or lets one of it not in.

use std::time::Duration;

use raidhall_loadtest::targets::Targets;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::time::Instant;

use crate::bounded;
use crate::fleet::Fleet;
use crate::lookout::Lookout;
use crate::party::{Party, long_raid};
use crate::process::Site;
use crate::redis::{RedisCluster, RedisServer, connect};

/// The user that the documentation of the bus asks for.
const USER: &str = "user raidhall on >hunter2 resetkeys ~ratelimit:* resetchannels &raid:* &instance:* -@all +hello +ping +eval +get +set +time";

/// A raid is played over the fleet, whose bus works all the time.
async fn plays(fleet: &Fleet) {
    fleet.heals().await;
    let game = fleet.at_play(6, &long_raid(6)).await.play();
    game.goes_on(100).await;
    fleet.heals().await;
    assert!(
        !fleet.site.logged().contains("the bus is down"),
        "the bus has worked throughout"
    );
    game.judged().await;
}

#[tokio::test]
async fn a_fleet_plays_as_a_user_that_may_touch_its_own_channels_only() {
    bounded(async {
        let user = format!("{USER} +publish +subscribe +unsubscribe\nuser default off");
        let redis = RedisServer::start_with(&user).await;
        let url = format!("redis://raidhall:hunter2@{}", redis.address());
        let fleet = Fleet::over(Site::postgres().await, redis, 3, &[("BUS__URL", &url)]).await;
        plays(&fleet).await;
        assert!(
            !fleet.site.logged().contains("hunter2"),
            "the password is in the log"
        );
    })
    .await;
}

/// As the documentation of release 0.2.0 has it.
#[tokio::test]
async fn a_fleet_plays_as_a_user_that_may_touch_no_keys_and_says_so_once() {
    bounded(async {
        let user = "user raidhall on >hunter2 resetkeys resetchannels &raid:* &instance:* -@all +hello +ping \
                    +publish +subscribe +unsubscribe\nuser default off";
        let redis = RedisServer::start_with(user).await;
        let url = format!("redis://raidhall:hunter2@{}", redis.address());
        let fleet = Fleet::over(Site::postgres().await, redis, 2, &[("BUS__URL", &url)]).await;
        plays(&fleet).await;
        for server in &fleet.servers {
            let log = server.logged();
            let told = log.matches("rate limits are counted by this instance alone").count();
            assert_eq!(told, 1, "{log}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_fleet_plays_over_tls_with_an_authority_of_its_own() {
    bounded(async {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority = authority.expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(["localhost".to_owned()]).expect("names");
        let certificate = names.signed_by(&key, &authority).expect("a certificate");
        let redis = RedisServer::start_tls(&certificate.pem(), &key.serialize_pem()).await;
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("authority.pem");
        std::fs::write(&file, authority.pem()).expect("write a file");
        let url = format!("rediss://localhost:{}", redis.address().port());
        let settings = [
            ("BUS__URL", &*url),
            ("BUS__CA_FILE", file.to_str().expect("a name")),
        ];
        plays(&Fleet::over(Site::postgres().await, redis, 3, &settings).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_fleet_plays_on_a_redis_cluster_whose_nodes_restart() {
    bounded(async {
        let user = format!("{USER} +cluster|slots +spublish +ssubscribe +sunsubscribe");
        let mut cluster = RedisCluster::start_with(&user).await;
        let site = Site::postgres().await;
        let mut servers = Vec::new();
        for node in &cluster.nodes {
            let url = format!("redis://raidhall:hunter2@{}", node.address());
            servers.push(
                site.start_with(&[("BUS__URL", &url), ("BUS__CLUSTER", "true")])
                    .await,
            );
        }
        let all_well = async || {
            for server in &servers {
                server.bus_works(true).await;
            }
        };
        all_well().await;
        let targets = servers.iter().map(|server| *server.target()).collect();
        let targets = Targets::new(targets).expect("three");
        let game = Party::at_play_over(&targets, 6, &long_raid(6)).await.play();
        game.goes_on(60).await;
        assert!(
            !site.logged().contains("the bus is down"),
            "the bus has worked so far"
        );
        for node in &mut cluster.nodes {
            node.restart().await;
            game.goes_on(20).await;
            all_well().await;
        }
        cluster.settle().await;
        game.goes_on(60).await;
        game.judged().await;
    })
    .await;
}

#[tokio::test]
async fn an_instance_with_a_wrong_password_serves_its_own_clients_and_says_what_is_wrong() {
    bounded(async {
        let redis = RedisServer::start_with("requirepass right").await;
        let (right, wrong) = (
            format!("redis://:right@{}", redis.address()),
            format!("redis://:wr0ng@{}", redis.address()),
        );
        let mut fleet =
            Fleet::over(Site::postgres().await, redis, 1, &[("BUS__URL", &right)]).await;
        fleet
            .servers
            .push(fleet.site.start_with(&[("BUS__URL", &wrong)]).await);
        let [well, locked_out] = &fleet.servers[..] else {
            unreachable!("two")
        };
        locked_out.bus_works(false).await;
        well.bus_works(true).await;

        let party = Party::at_play(locked_out.target(), 4, &long_raid(4)).await;
        let (raid, token) = (party.raid, party.witness().await.access_token);
        let mut own = fleet.wire(1, raid, &token).await;
        let lookout = Lookout::of(fleet.wire(0, raid, &token).await);
        let game = party.play();
        for _ in 0..5 {
            game.goes_on(20).await;
            let (seq, at) = (own.say(raid, "hear me").await, Instant::now());
            let late = lookout.saw(seq).await.saturating_duration_since(at);
            assert!(
                late < Duration::from_millis(6_500),
                "the poll brought it after {late:?}"
            );
        }
        locked_out.bus_works(false).await;
        let log = locked_out.logged();
        let told = log
            .lines()
            .find(|line| line.contains("the bus is down"))
            .expect("a line");
        assert!(told.to_lowercase().contains("password"), "{told}");
        assert!(!log.contains("wr0ng"), "the password is in the log");

        // Whoever runs Redis lets it in after all.
        let mut redis = connect(&right).await.expect("connect to Redis");
        let mut accept = redis::cmd("ACL");
        accept.arg("SETUSER").arg("default").arg(">wr0ng");
        accept
            .exec_async(&mut redis)
            .await
            .expect("a second password");
        locked_out.bus_works(true).await;
        let seq = own.say(raid, "at last").await;
        lookout.saw(seq).await;
        assert!(lookout.saw_no_hole());
        drop((own, lookout));
        game.judged().await;
    })
    .await;
}
