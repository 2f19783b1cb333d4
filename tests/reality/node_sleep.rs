//! A node sleeps through the end of its lease, its raids go on elsewhere, and it wakes.

use std::time::Duration;

use raidhall_protocol::{Codec, Command, ErrorType, EventData};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::bounded;
use crate::fleet::Fleet;
use crate::party::long_raid;
use crate::process::Site;
use crate::proxy::Way::ToServer;
use crate::wire::{Wire, event_seq};

/// Twice as long as a lease lasts.
const SLEEP: Duration = Duration::from_secs(6);
/// How long a raid may be without an owner for whoever is connected elsewhere.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn an_owner_that_sleeps_too_long_is_fenced_and_serves_its_clients_as_an_edge_when_it_wakes() {
    bounded(async {
        let site = Site::postgres().await;
        let (way, url) = site.another_way().await;
        let mut fleet = Fleet::on(site, 1, &[("DATABASE__URL", &url)]).await;
        fleet.join(&[], &[]).await;
        fleet.join(&[], &[]).await;
        let (sleeper, awake) = (0, 1);
        let party = fleet.at_play(6, &long_raid(6)).await;
        let raid = party.raid;
        let rest = party.players[awake]
            .rest()
            .with_patience(Duration::from_secs(30));
        assert_eq!(fleet.owner_of(&rest, raid).await, sleeper);
        let (ada, bob) = (
            party.witness().await.access_token,
            party.witness().await.access_token,
        );
        let mut ada = Wire::open(fleet.servers[sleeper].target(), Codec::Json, &ada).await;
        let mut bob = Wire::open(fleet.servers[awake].target(), Codec::MessagePack, &bob).await;
        ada.watch(raid, None).await;
        let game = party.play_gently(6, PACE);
        game.goes_on(20).await;

        // Decided, sent, and not arrived: then the owner sleeps.
        way.hold_present(&[ToServer]);
        let zombie = || Command::Say {
            text: "zombie".into(),
        };
        let number = ada.ask(raid, Some("zombie"), zombie()).await;
        sleep(Duration::from_millis(300)).await;
        fleet.servers[sleeper].signal(Signal::STOP);
        let stopped = Instant::now();
        let command = Command::Say {
            text: "is anybody there?".into(),
        };
        let answer = timeout(OUTAGE_MAX, bob.act(raid, Some("meanwhile"), command)).await;
        assert!(
            matches!(answer, Ok(Ok((_, false)))),
            "{answer:?} after {:?}",
            stopped.elapsed()
        );
        sleep_until(stopped + SLEEP).await;
        // What it had sent arrives while it still sleeps.
        way.release();
        sleep(Duration::from_millis(300)).await;
        fleet.servers[sleeper].signal(Signal::CONT);

        let error = ada
            .answer(number)
            .await
            .expect_err("its commit is refused by the fence");
        assert_eq!((error.r#type, error.retry), (ErrorType::Unavailable, true));
        let seq = loop {
            match ada.act(raid, Some("zombie"), zombie()).await {
                Ok((seq, duplicate)) => {
                    break (!duplicate)
                        .then_some(seq)
                        .expect("it had no effect before");
                }
                Err(error) => assert!(error.retry, "{error:?}"),
            }
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(
            ada.act(raid, Some("zombie"), zombie()).await,
            Ok((seq, true))
        );
        while ada.seqs().last() < Some(&seq.0) {
            ada.seek(event_seq).await;
        }
        let seqs = ada.seqs();
        assert!(
            seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "no hole and no double: {seqs:?}"
        );
        assert_ne!(fleet.owner_of(&rest, raid).await, sleeper);
        game.goes_on(20).await;
        drop((ada, bob));

        let party = game.stop().await;
        for player in &party.players {
            assert_eq!(player.tally().reconnects, 0, "{:?}", player.tally());
        }
        let settled = party.settle_in_full().await;
        settled.verdict.expect_innocent();
        let said = |text: &str| {
            let said = EventData::Said { text: text.into() };
            settled
                .truth
                .events
                .iter()
                .filter(|event| event.data == said)
                .count()
        };
        assert_eq!((said("zombie"), said("is anybody there?")), (1, 1));
    })
    .await;
}
