//! Clusters on a Redis that permits only what the server needs, uses TLS, is a Redis Cluster, or
//! rejects one instance.

use std::time::Duration;

use raidhall_loadtest::targets::Targets;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::redis::{RedisCluster, RedisProcess, connect};
use crate::watch_recorder::WatchRecorder;
use crate::with_timeout;

/// The Redis user that the documentation of the bus asks for.
const USER: &str = "user raidhall on >hunter2 resetkeys ~ratelimit:* resetchannels &raid:* &player:* &feed &instance:* -@all +hello +ping +eval +get +set +time";

/// Plays a raid on all nodes, and asserts that the bus works all the time.
async fn assert_raid_plays(cluster: &Cluster) {
    cluster.wait_until_bus_works().await;
    let game = cluster.start_group(6, &long_raid(6)).await.start_playing();
    game.wait_for_events(100).await;
    cluster.wait_until_bus_works().await;
    assert!(
        !cluster.database.logs().contains("the bus is down"),
        "the bus has worked throughout"
    );
    game.stop_and_judge().await;
}

#[tokio::test]
async fn a_cluster_works_with_a_redis_user_limited_to_its_channels() {
    with_timeout(async {
        let user = format!("{USER} +publish +subscribe +unsubscribe\nuser default off");
        let redis = RedisProcess::start_with(&user).await;
        let url = format!("redis://raidhall:hunter2@{}", redis.address());
        let cluster = Cluster::start_with_redis(
            TestDatabase::postgres().await,
            redis,
            3,
            &[("BUS__URL", &url)],
        )
        .await;
        assert_raid_plays(&cluster).await;
        assert!(
            !cluster.database.logs().contains("hunter2"),
            "the password is in the log"
        );
    })
    .await;
}

/// The Redis user is that of the documentation of release 0.2.0.
#[tokio::test]
async fn a_cluster_works_with_a_redis_user_without_keys_and_logs_it_once() {
    with_timeout(async {
        let user = "user raidhall on >hunter2 resetkeys resetchannels &raid:* &player:* &feed &instance:* -@all +hello +ping \
                    +publish +subscribe +unsubscribe\nuser default off";
        let redis = RedisProcess::start_with(user).await;
        let url = format!("redis://raidhall:hunter2@{}", redis.address());
        let cluster = Cluster::start_with_redis(TestDatabase::postgres().await, redis, 2, &[("BUS__URL", &url)]).await;
        assert_raid_plays(&cluster).await;
        for server in &cluster.servers {
            let log = server.logs();
            let warnings = log.matches("rate limits are counted by this instance alone").count();
            assert_eq!(warnings, 1, "{log}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cluster_works_over_redis_tls_with_a_private_authority() {
    with_timeout(async {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority = authority.expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(["localhost".to_owned()]).expect("names");
        let certificate = names.signed_by(&key, &authority).expect("a certificate");
        let redis = RedisProcess::start_tls(&certificate.pem(), &key.serialize_pem()).await;
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("authority.pem");
        std::fs::write(&file, authority.pem()).expect("write a file");
        let url = format!("rediss://localhost:{}", redis.address().port());
        let settings = [
            ("BUS__URL", &*url),
            ("BUS__CA_FILE", file.to_str().expect("a name")),
        ];
        assert_raid_plays(
            &Cluster::start_with_redis(TestDatabase::postgres().await, redis, 3, &settings).await,
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_works_on_a_redis_cluster_whose_nodes_restart() {
    with_timeout(async {
        let user = format!("{USER} +cluster|slots +spublish +ssubscribe +sunsubscribe");
        let mut cluster = RedisCluster::start_with(&user).await;
        let database = TestDatabase::postgres().await;
        let mut servers = Vec::new();
        for node in &cluster.nodes {
            let url = format!("redis://raidhall:hunter2@{}", node.address());
            servers.push(
                database
                    .start_with(&[("BUS__URL", &url), ("BUS__CLUSTER", "true")])
                    .await,
            );
        }
        let all_buses_work = async || {
            for server in &servers {
                server.wait_for_bus(true).await;
            }
        };
        all_buses_work().await;
        let targets = servers.iter().map(|server| *server.target()).collect();
        let targets = Targets::new(targets).expect("three");
        let game = RaidGroup::start_on(&targets, 6, &long_raid(6))
            .await
            .start_playing();
        game.wait_for_events(60).await;
        assert!(
            !database.logs().contains("the bus is down"),
            "the bus has worked so far"
        );
        for node in &mut cluster.nodes {
            node.restart().await;
            game.wait_for_events(20).await;
            all_buses_work().await;
        }
        cluster.settle().await;
        game.wait_for_events(60).await;
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn an_instance_with_a_wrong_redis_password_serves_its_own_clients() {
    with_timeout(async {
        let redis = RedisProcess::start_with("requirepass right").await;
        let right = format!("redis://:right@{}", redis.address());
        let wrong = format!("redis://:wr0ng@{}", redis.address());
        let mut cluster = Cluster::start_with_redis(
            TestDatabase::postgres().await,
            redis,
            1,
            &[("BUS__URL", &right)],
        )
        .await;
        cluster
            .servers
            .push(cluster.database.start_with(&[("BUS__URL", &wrong)]).await);
        let [connected, locked_out] = &cluster.servers[..] else {
            unreachable!("two")
        };
        locked_out.wait_for_bus(false).await;
        // It is connected, and reports that the other instance is not.
        connected.wait_for_bus(false).await;

        let group = RaidGroup::start(locked_out.target(), 4, &long_raid(4)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let mut own = cluster.open_socket(1, raid, &token).await;
        let recorder = WatchRecorder::start(cluster.open_socket(0, raid, &token).await);
        let game = group.start_playing();
        for _ in 0..5 {
            game.wait_for_events(20).await;
            let seq = own.say(raid, "hear me").await;
            let at = Instant::now();
            let late = recorder
                .wait_for_event(seq)
                .await
                .saturating_duration_since(at);
            assert!(
                late < Duration::from_millis(6_500),
                "the poll brought it after {late:?}"
            );
        }
        locked_out.wait_for_bus(false).await;
        let line = locked_out.logged_line("the bus is down").await;
        let log = locked_out.logs();
        assert!(line.to_lowercase().contains("password"), "{line}");
        assert!(!log.contains("wr0ng"), "the password is in the log");

        // Then Redis accepts the second password as well.
        let mut redis = connect(&right).await.expect("connect to Redis");
        let mut accept = redis::cmd("ACL");
        accept.arg("SETUSER").arg("default").arg(">wr0ng");
        accept
            .exec_async(&mut redis)
            .await
            .expect("a second password");
        locked_out.wait_for_bus(true).await;
        connected.wait_for_bus(true).await;
        let seq = own.say(raid, "at last").await;
        recorder.wait_for_event(seq).await;
        assert!(recorder.has_no_gap());
        drop((own, recorder));
        game.stop_and_judge().await;
    })
    .await;
}
