//! Postgres goes away, stalls, and loses answers, under a fleet.

use std::time::Duration;

use raidhall::store::RaidHead;
use raidhall_protocol::{ClientMessage, Command, ErrorType, RaidId, Seq};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::bounded;
use crate::cluster::Cluster;
use crate::fleet::Fleet;
use crate::instruments::METRICS;
use crate::lookout::Lookout;
use crate::party::{Party, long_raid};
use crate::process::Site;
use crate::proxy::Way::{ToClient, ToServer};
use crate::wire::Wire;

fn said(text: &str) -> Command {
    Command::Say { text: text.into() }
}

#[tokio::test]
async fn a_fleet_survives_that_postgres_is_restarted_at_once() {
    bounded(async {
        let mut cluster = Cluster::start().await;
        let fleet = Fleet::on(Site::on(&cluster).await, 3, &[]).await;
        let game = fleet.at_play(6, &long_raid(6)).await.play();
        for _ in 0..3 {
            game.goes_on(30).await;
            cluster.restart_immediately().await;
        }
        game.goes_on(60).await;
        game.judged().await;
    })
    .await;
}

#[tokio::test]
async fn when_answers_of_the_store_are_lost_every_effect_counts_once_across_a_fleet() {
    bounded(async {
        let fleet = Fleet::on(Site::proxied().await, 3, &[METRICS]).await;
        let game = fleet.at_play(6, &long_raid(6)).await.play();
        for _ in 0..25 {
            game.goes_on(3).await;
            fleet.site.proxy().lose_answers();
        }
        game.goes_on(30).await;
        assert!(
            fleet.site.proxy().lost() >= 25,
            "{} answers lost",
            fleet.site.proxy().lost()
        );
        let mut repeated = 0.0;
        for server in &fleet.servers {
            repeated += server.metric("raidhall_commit_retries_total").await;
        }
        println!("{repeated} commits were sent again");
        assert!(repeated >= 3.0, "those of commits were among them");
        game.judged().await;
    })
    .await;
}

/// A refusal that a client may repeat, with the time after which; gives how long it took.
async fn refused(wire: &mut Wire, raid: RaidId, op: &str) -> Duration {
    let asked = Instant::now();
    let error = wire
        .act(raid, Some(op), said(op))
        .await
        .expect_err("nothing can be committed");
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    asked.elapsed()
}

async fn retried(wire: &mut Wire, raid: RaidId, op: &str) -> Seq {
    loop {
        match wire.act(raid, Some(op), said(op)).await {
            Ok((seq, _)) => return seq,
            Err(error) => assert!(error.retry, "{error:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn heads(fleet: &Fleet, raids: &[RaidId]) -> Vec<(RaidId, RaidHead)> {
    let mut heads = fleet
        .site
        .store()
        .await
        .heads(raids)
        .await
        .expect("the store");
    heads.sort_unstable_by_key(|(raid, _)| *raid);
    heads
}

async fn takeovers(fleet: &Fleet) -> f64 {
    let mut all = 0.0;
    for server in &fleet.servers {
        all += server.metric("raidhall_takeovers_total").await;
    }
    all
}

/// Raids of one player each, four at home at each instance, and watched at every instance.
async fn quiet_raids(fleet: &Fleet) -> (Vec<RaidId>, Vec<Lookout>) {
    let (mut raids, mut lookouts) = (Vec::new(), Vec::new());
    for number in 0..12 {
        let home = fleet.servers[number % 3].target();
        let party = Party::gather(home, 1, &long_raid(1)).await;
        let token = party.witness().await.access_token;
        for place in 0..3 {
            lookouts.push(Lookout::of(fleet.wire(place, party.raid, &token).await));
        }
        raids.push(party.raid);
    }
    raids.sort_unstable();
    (raids, lookouts)
}

#[tokio::test]
async fn a_stall_of_postgres_is_waited_out_and_moves_no_raid() {
    bounded(async {
        let fleet = Fleet::on(Site::proxied().await, 3, &[METRICS]).await;
        let (quiet, lookouts) = quiet_raids(&fleet).await;
        let party = fleet.at_play(3, &long_raid(3)).await;
        let (raid, rest) = (party.raid, party.players[0].rest());
        let owner = fleet.owner_of(&rest, raid).await;
        let tokens = [
            party.witness().await.access_token,
            party.witness().await.access_token,
        ];
        let mut own = fleet.wire(owner, raid, &tokens[0]).await;
        let mut edge = fleet.wire((owner + 1) % 3, raid, &tokens[1]).await;
        let mut signalling = fleet.wire((owner + 1) % 3, raid, &tokens[0]).await;
        let at_owner = Lookout::of(fleet.wire(owner, raid, &tokens[1]).await);
        let elsewhere = Lookout::of(fleet.wire((owner + 2) % 3, raid, &tokens[1]).await);
        own.say(raid, "before").await;
        let (before, took_over) = (heads(&fleet, &quiet).await, takeovers(&fleet).await);

        fleet.site.proxy().hold(&[ToServer, ToClient]);
        let began = Instant::now();
        let signals = async {
            let mut sent = 0;
            while began.elapsed() < Duration::from_secs(10) {
                let signal = ClientMessage::Signal {
                    id: None,
                    raid,
                    kind: "emote".into(),
                    data: json!(sent),
                };
                signalling.send(signal).await;
                sent += 1;
                let at = Instant::now();
                for lookout in [&at_owner, &elsewhere] {
                    let seen = timeout(Duration::from_secs(2), lookout.saw_signals(sent)).await;
                    seen.unwrap_or_else(|_| {
                        panic!(
                            "signal {sent} was not seen, {:?} into the stall",
                            at - began
                        )
                    });
                }
                sleep(Duration::from_millis(250)).await;
            }
        };
        let (at_home, afar, ()) = tokio::join!(
            refused(&mut own, raid, "near"),
            refused(&mut edge, raid, "far"),
            signals
        );
        assert!(
            at_home >= Duration::from_millis(1_900) && at_home < Duration::from_secs(4),
            "{at_home:?}"
        );
        assert!(
            afar >= Duration::from_millis(1_900) && afar < Duration::from_secs(6),
            "{afar:?}"
        );
        for server in &fleet.servers {
            let health = server.health().await;
            assert_eq!(
                (health.ready, &*health.store, &*health.bus),
                (false, "failing", "ok")
            );
        }

        fleet.site.proxy().release();
        let released = Instant::now();
        let acknowledged = [
            retried(&mut own, raid, "near").await,
            retried(&mut edge, raid, "far").await,
        ];
        assert!(
            released.elapsed() < Duration::from_secs(8),
            "it took {:?} to heal",
            released.elapsed()
        );
        for lookout in [&at_owner, &elsewhere] {
            for seq in acknowledged {
                lookout.saw(seq).await;
            }
            assert!(lookout.saw_no_hole());
            assert_eq!(lookout.gone(), []);
        }
        fleet.heals().await;
        // Whoever would take something over does so within a lease.
        sleep(Duration::from_secs(4)).await;
        let (after, moved) = (
            heads(&fleet, &quiet).await,
            takeovers(&fleet).await - took_over,
        );
        println!("{moved} raids changed hands");
        assert_eq!(before, after);
        assert!(moved <= 2.0, "{moved} raids changed hands");
        assert!(
            lookouts
                .iter()
                .all(|lookout| lookout.gone().is_empty() && lookout.saw_no_hole())
        );
        drop((own, edge, signalling, at_owner, elsewhere));
        let (verdict, _) = party.settle().await;
        verdict.expect_innocent();
    })
    .await;
}
