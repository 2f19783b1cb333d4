//! Redis goes away under a fleet, for everybody or for one: what it carried comes later, and nothing comes wrong.

use std::time::Duration;

use raidhall_protocol::{Command, ErrorType, RaidId, Seq};
use tokio::time::{Instant, sleep};

use crate::bounded;
use crate::fleet::Fleet;
use crate::instruments::METRICS;
use crate::lookout::Lookout;
use crate::party::{Party, long_raid};
use crate::process::Site;
use crate::proxy::Proxy;
use crate::proxy::Way::{ToClient, ToServer};
use crate::wire::{Answer, Wire};

/// How soon an owner acknowledges, whatever the bus does.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How late an edge sees what the bus does not bring, once it knows that the bus is gone: the poll's second, and some.
const POLLED: Duration = Duration::from_secs(3);
/// The same while it does not know yet, or is not told at all: five of the poll's seconds, and some.
const POLLED_UNAWARE: Duration = Duration::from_millis(6_500);
/// How long a command that no owner answers may wait at an edge.
const PARKED: Duration = Duration::from_secs(6);

fn said(text: &str) -> Command {
    Command::Say { text: text.into() }
}

#[tokio::test]
async fn a_redis_that_restarts_empty_costs_nothing() {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let game = fleet.at_play(6, &long_raid(6)).await.play();
        for _ in 0..3 {
            game.goes_on(20).await;
            fleet.redis.restart().await;
        }
        game.goes_on(20).await;
        fleet.redis.kill().await;
        for server in &fleet.servers {
            server.bus_works(false).await;
        }
        game.goes_on(60).await;
        fleet.redis.restart().await;
        fleet.heals().await;
        game.goes_on(40).await;
        game.judged().await;
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_flaps_twenty_times_costs_nothing() {
    bounded(async {
        let mut fleet = Fleet::on(Site::postgres().await, 3, &[METRICS]).await;
        let game = fleet.at_play(6, &long_raid(6)).await.play();
        for round in 0..20 {
            game.goes_on(4).await;
            let before = reconnects(&fleet).await;
            match round % 4 {
                0 => fleet.redis.restart().await,
                1 => fleet.buses.iter().for_each(Proxy::cut),
                // One after the other, so that they are seldom all there.
                2 => fleet.buses[round % 3].cut(),
                _ => fleet.buses.iter().for_each(Proxy::lose_answers),
            }
            // Each is an outage of its own, noticed and over before the next.
            while reconnects(&fleet).await == before {
                sleep(Duration::from_millis(5)).await;
            }
            fleet.heals().await;
        }
        fleet.heals().await;
        game.goes_on(40).await;
        game.judged().await;
    })
    .await;
}

/// How often the instances have connected to Redis again, all together.
async fn reconnects(fleet: &Fleet) -> f64 {
    let mut sum = 0.0;
    for server in &fleet.servers {
        sum += server.metric("raidhall_bus_reconnects_total").await;
    }
    sum
}

/// A raid being played, its owner's place, and two members more.
async fn guarded(fleet: &Fleet) -> (Party, usize, [String; 2]) {
    let party = fleet.at_play(3, &long_raid(3)).await;
    let owner = fleet.owner_of(&party.players[0].rest(), party.raid).await;
    let tokens = [
        party.witness().await.access_token,
        party.witness().await.access_token,
    ];
    (party, owner, tokens)
}

/// Asks for something that no owner hears of, and is told so in time.
async fn parked(wire: &mut Wire, raid: RaidId, op: &str) {
    let asked = Instant::now();
    let error = wire
        .act(raid, Some(op), said(op))
        .await
        .expect_err("nobody can be asked");
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    assert!(asked.elapsed() <= PARKED, "{:?}", asked.elapsed());
}

/// Sends a command again until it is acknowledged.
async fn retried(wire: &mut Wire, raid: RaidId, op: &str) -> Answer {
    loop {
        match wire.act(raid, Some(op), said(op)).await {
            Err(error) if error.retry => sleep(Duration::from_millis(100)).await,
            answer => return answer,
        }
    }
}

/// Says something again and again for so long, and gives what was acknowledged, and when: each time soon.
async fn speaks(wire: &mut Wire, raid: RaidId, until: Instant) -> Vec<(Seq, Instant)> {
    let mut acknowledged = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        let seq = wire.say(raid, "still here").await;
        assert!(
            asked.elapsed() < AT_ONCE,
            "an owner's own client waited for {:?}",
            asked.elapsed()
        );
        acknowledged.push((seq, Instant::now()));
        sleep(Duration::from_millis(200)).await;
    }
    acknowledged
}

/// Whether everything was seen in time, by those who knew of the fault since a moment.
async fn seen_in_time(lookout: &Lookout, acknowledged: &[(Seq, Instant)], aware: Option<Instant>) {
    for (seq, at) in acknowledged {
        let late = lookout.saw(*seq).await.saturating_duration_since(*at);
        let limit = if aware.is_some_and(|aware| aware <= *at) {
            POLLED
        } else {
            POLLED_UNAWARE
        };
        assert!(
            late <= limit,
            "{seq} was seen {late:?} after its acknowledgement"
        );
    }
}

#[tokio::test]
async fn while_redis_is_a_black_hole_owners_serve_their_own_and_edges_heal_by_the_poll() {
    bounded(async {
        let fleet = Fleet::of(3).await;
        let (party, owner, [ada, bob]) = guarded(&fleet).await;
        let (raid, edge, other) = (party.raid, (owner + 1) % 3, (owner + 2) % 3);
        let mut own = fleet.wire(owner, raid, &ada).await;
        let lookout = Lookout::of(fleet.wire(edge, raid, &bob).await);
        let mut asking = fleet.wire(other, raid, &bob).await;
        let game = party.play();
        game.goes_on(20).await;

        fleet.hold_buses();
        let until = Instant::now() + Duration::from_secs(11);
        let aware = async {
            for server in &fleet.servers {
                server.bus_works(false).await;
            }
            Instant::now()
        };
        let waits = parked(&mut asking, raid, "parked");
        let (acknowledged, aware, ()) = tokio::join!(speaks(&mut own, raid, until), aware, waits);
        assert!(
            aware < until,
            "the instances noticed {:?} late",
            aware - until
        );
        seen_in_time(&lookout, &acknowledged, Some(aware)).await;
        assert!(lookout.saw_no_hole());

        fleet.release_buses();
        let released = Instant::now();
        fleet.heals().await;
        assert!(
            released.elapsed() < Duration::from_secs(5),
            "{:?}",
            released.elapsed()
        );
        let (seq, _) = retried(&mut asking, raid, "parked")
            .await
            .expect("it may talk");
        assert_eq!(retried(&mut asking, raid, "parked").await, Ok((seq, true)));
        let (after, told) = (own.say(raid, "after").await, Instant::now());
        let late = lookout.saw(after).await.saturating_duration_since(told);
        assert!(
            late < AT_ONCE,
            "the bus works, and brought it {late:?} after its acknowledgement"
        );
        assert_eq!(lookout.gone(), [], "nobody has left");
        drop((own, lookout, asking));
        game.judged().await;
    })
    .await;
}

#[tokio::test]
async fn an_edge_that_is_cut_off_from_redis_alone_sees_all_by_the_poll() {
    bounded(async {
        let fleet = Fleet::of(3).await;
        let (party, owner, [ada, bob]) = guarded(&fleet).await;
        let (raid, edge, other) = (party.raid, (owner + 1) % 3, (owner + 2) % 3);
        let mut own = fleet.wire(owner, raid, &ada).await;
        let lookout = Lookout::of(fleet.wire(edge, raid, &bob).await);
        let (mut asking, mut elsewhere) = (
            fleet.wire(edge, raid, &bob).await,
            fleet.wire(other, raid, &ada).await,
        );
        let game = party.play();
        game.goes_on(20).await;

        fleet.buses[edge].close();
        fleet.servers[edge].bus_works(false).await;
        let aware = Instant::now();
        let waits = parked(&mut asking, raid, "parked");
        let until = aware + Duration::from_secs(6);
        let (acknowledged, ()) = tokio::join!(speaks(&mut own, raid, until), waits);
        seen_in_time(&lookout, &acknowledged, Some(aware)).await;
        elsewhere.say(raid, "the others are connected").await;
        for well in [owner, other] {
            assert_eq!(fleet.servers[well].health().await.bus, "ok");
        }

        fleet.buses[edge].release();
        fleet.heals().await;
        retried(&mut asking, raid, "parked")
            .await
            .expect("it may talk");
        assert_eq!(lookout.gone(), [], "nobody has left");
        assert!(lookout.saw_no_hole());
        drop((own, lookout, asking, elsewhere));
        game.judged().await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_that_is_cut_off_from_redis_alone_keeps_its_raid_and_serves_its_own() {
    bounded(async {
        let fleet = Fleet::of(3).await;
        let (party, owner, [ada, bob]) = guarded(&fleet).await;
        let (raid, edge) = (party.raid, (owner + 1) % 3);
        let rest = party.players[0].rest();
        let mut own = fleet.wire(owner, raid, &ada).await;
        let lookout = Lookout::of(fleet.wire(edge, raid, &bob).await);
        let mut asking = fleet.wire(edge, raid, &bob).await;
        let game = party.play();
        game.goes_on(20).await;
        let store = fleet.site.store().await;
        let before = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");

        fleet.buses[owner].hold(&[ToServer, ToClient]);
        let until = Instant::now() + Duration::from_secs(11);
        let waits = parked(&mut asking, raid, "parked");
        let failing = fleet.servers[owner].bus_works(false);
        let (acknowledged, (), ()) = tokio::join!(speaks(&mut own, raid, until), waits, failing);
        seen_in_time(&lookout, &acknowledged, None).await;
        assert_eq!(
            fleet.servers[edge].health().await.bus,
            "ok",
            "it knows of no fault"
        );

        fleet.release_buses();
        fleet.heals().await;
        retried(&mut asking, raid, "parked")
            .await
            .expect("it may talk");
        let after = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        assert_eq!((after.owner, after.epoch), (before.owner, before.epoch));
        assert_eq!(fleet.owner_of(&rest, raid).await, owner);
        assert_eq!(lookout.gone(), [], "nobody has left");
        assert!(lookout.saw_no_hole());
        drop((own, lookout, asking));
        game.judged().await;
    })
    .await;
}
