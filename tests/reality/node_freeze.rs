//! A node freezes beyond the end of its lease, its raids continue elsewhere, and it wakes up.

use std::time::Duration;

use raidhall_protocol::{Codec, Command, ErrorType, EventData};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::Cluster;
use crate::process::TestDatabase;
use crate::proxy::Direction::ToServer;
use crate::raid_group::long_raid;
use crate::test_socket::{TestSocket, event_seq};
use crate::with_timeout;

/// Twice the duration of a lease.
const SLEEP: Duration = Duration::from_secs(6);
/// How long a raid may be without an owner for clients of other nodes.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn an_owner_that_sleeps_too_long_is_fenced_and_wakes_as_a_follower() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let (proxy, url) = database.add_proxy().await;
        let mut cluster = Cluster::start_on(database, 1, &[("DATABASE__URL", &url)]).await;
        cluster.add_node(&[], &[]).await;
        cluster.add_node(&[], &[]).await;
        let sleeper = 0;
        let awake = 1;
        let group = cluster.start_group(6, &long_raid(6)).await;
        let raid = group.raid;
        let rest = group.players[awake]
            .rest()
            .with_retry_timeout(Duration::from_secs(30));
        assert_eq!(cluster.owner_of(&rest, raid).await, sleeper);
        let ada = group.add_member().await.access_token;
        let bob = group.add_member().await.access_token;
        let mut ada =
            TestSocket::connect_authenticated(cluster.servers[sleeper].target(), Codec::Json, &ada)
                .await;
        let mut bob = TestSocket::connect_authenticated(
            cluster.servers[awake].target(),
            Codec::MessagePack,
            &bob,
        )
        .await;
        ada.watch(raid, None).await;
        let game = group.start_playing_at_pace(6, PACE);
        game.wait_for_events(20).await;

        // The commit is decided and sent, and has not arrived: then the owner freezes.
        proxy.hold_open_connections(&[ToServer]);
        let zombie = || Command::Say {
            text: "zombie".into(),
        };
        let number = ada.send_command(raid, Some("zombie"), zombie()).await;
        sleep(Duration::from_millis(300)).await;
        cluster.servers[sleeper].signal(Signal::STOP);
        let stopped = Instant::now();
        let command = Command::Say {
            text: "is anybody there?".into(),
        };
        let answer = timeout(OUTAGE_MAX, bob.execute(raid, Some("meanwhile"), command)).await;
        assert!(
            matches!(answer, Ok(Ok((_, false)))),
            "{answer:?} after {:?}",
            stopped.elapsed()
        );
        sleep_until(stopped + SLEEP).await;
        // The commit arrives while its sender is still frozen.
        proxy.release();
        sleep(Duration::from_millis(300)).await;
        cluster.servers[sleeper].signal(Signal::CONT);

        let error = ada
            .wait_for_result(number)
            .await
            .expect_err("its commit is refused by the fence");
        assert_eq!((error.r#type, error.retry), (ErrorType::Unavailable, true));
        let seq = loop {
            match ada.execute(raid, Some("zombie"), zombie()).await {
                Ok((seq, duplicate)) => {
                    break (!duplicate)
                        .then_some(seq)
                        .expect("the command had no effect before");
                }
                Err(error) => assert!(error.retry, "{error:?}"),
            }
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(
            ada.execute(raid, Some("zombie"), zombie()).await,
            Ok((seq, true))
        );
        while ada.received_seqs().last() < Some(&seq.0) {
            ada.wait_for(event_seq).await;
        }
        let seqs = ada.received_seqs();
        assert!(
            seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "no hole and no duplicate: {seqs:?}"
        );
        assert_ne!(cluster.owner_of(&rest, raid).await, sleeper);
        game.wait_for_events(20).await;
        drop((ada, bob));

        let group = game.stop().await;
        for player in &group.players {
            assert_eq!(player.counts().reconnects, 0, "{:?}", player.counts());
        }
        let settled = group.settle_with_logs().await;
        settled.verdict.assert_no_violations();
        let said = |text: &str| {
            let said = EventData::Said { text: text.into() };
            settled
                .server_record
                .events
                .iter()
                .filter(|event| event.data == said)
                .count()
        };
        assert_eq!((said("zombie"), said("is anybody there?")), (1, 1));
    })
    .await;
}
