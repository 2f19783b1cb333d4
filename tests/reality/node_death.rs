//! A node is killed, and its raids go on at another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raidhall::auth::Scope;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::{
    Codec, Command, Event, EventData, PlayerId, Seq, ServerMessage, UnixMillis,
};
use tokio::time::{Instant, sleep, timeout};

use crate::bounded;
use crate::deadline::{Begun, begun_at};
use crate::fleet::{AFTERMATH, Fleet};
use crate::party::{Party, long_raid};
use crate::wire::Wire;

/// The players of the first raids home at each of three nodes: the first node's own the raid.
const OWNER: usize = 0;
/// How long a raid may be without an owner for whoever is connected elsewhere.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
/// `raid.presence_grace_ms` of the nodes.
const GRACE: Duration = Duration::from_secs(5);
/// How often a player acts: enough to be caught in the middle of it.
const PACE: Duration = Duration::from_millis(100);

/// This machine's clock, which the database's is too.
pub fn now() -> UnixMillis {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    UnixMillis(i64::try_from(now).expect("milliseconds"))
}

#[tokio::test]
async fn when_the_owner_is_killed_its_raid_goes_on_and_nobody_elsewhere_is_disconnected() {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let party = fleet.at_play(30, &long_raid(30)).await;
        let raid = party.raid;
        let rest = party.players[1]
            .rest()
            .with_patience(Duration::from_secs(30));
        assert_eq!(fleet.owner_of(&rest, raid).await, OWNER);
        let token = party.witness().await.access_token;
        let mut wire = Wire::open(fleet.servers[1].target(), Codec::Json, &token).await;
        let game = party.play_gently(9, PACE);
        game.goes_on(40).await;

        fleet.kill(OWNER).await;
        let killed = Instant::now();
        let command = Command::Say {
            text: "is anybody there?".into(),
        };
        let answer = timeout(OUTAGE_MAX, wire.act(raid, Some("once"), command)).await;
        assert!(
            matches!(answer, Ok(Ok((_, false)))),
            "{answer:?} after {:?}",
            killed.elapsed()
        );
        game.goes_on(40).await;
        assert_ne!(fleet.owner_of(&rest, raid).await, OWNER);

        let party = game.stop().await;
        for (number, player) in party.players.iter().enumerate() {
            let (reconnects, tally) = (u64::from(number % 3 == OWNER), player.tally());
            assert_eq!(tally.reconnects, reconnects, "player {number}: {tally:?}");
        }
        let (verdict, _) = party.settle().await;
        verdict.expect_innocent();
        assert!(verdict.acks > 80 && verdict.resumes == 10, "{verdict:?}");
        assert!(verdict.replays * 10 >= verdict.resumes * 9, "{verdict:?}");
    })
    .await;
}

#[tokio::test]
async fn when_an_edge_is_killed_its_clients_come_back_elsewhere_and_nobody_else_notices() {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let mut party = fleet.at_play(6, &long_raid(6)).await;
        let (raid, edge) = (party.raid, 1);
        let rest = party.players[OWNER].rest();
        assert_eq!(fleet.owner_of(&rest, raid).await, OWNER);
        party.meet().await;
        let from = party.clock.now();
        let game = party.play_gently(6, PACE);
        game.goes_on(40).await;

        fleet.kill(edge).await;
        game.goes_on(40).await;
        sleep(AFTERMATH).await;
        let to = game.clock.now();
        assert_eq!(fleet.owner_of(&rest, raid).await, OWNER);

        let party = game.stop().await;
        for (number, player) in party.players.iter().enumerate() {
            let (reconnects, tally) = (u64::from(number % 3 == edge), player.tally());
            assert_eq!(tally.reconnects, reconnects, "player {number}: {tally:?}");
        }
        let settled = party.settle_in_full().await;
        settled.verdict.expect_innocent();
        let flaps = settled.flaps(from, to);
        assert_eq!(
            (flaps.absences, flaps.shown_gone, flaps.deposed),
            (0, 0, 0),
            "{flaps:?}"
        );
        assert!(
            settled.verdict.resumes == 2 && settled.verdict.replays == 2,
            "{:?}",
            settled.verdict
        );
    })
    .await;
}

/// The other side of the grace: whoever stays away is gone.
#[tokio::test]
async fn who_does_not_come_back_from_a_killed_node_is_shown_gone_once_the_lease_and_the_grace_are_over()
 {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let party = Party::gather_over(&fleet.targets, 1, &long_raid(3)).await;
        let (raid, edge) = (party.raid, 1);
        let (stays, goes) = (party.witness().await, party.witness().await);
        let mut watcher = Wire::open(
            fleet.servers[OWNER].target(),
            Codec::Json,
            &stays.access_token,
        )
        .await;
        watcher.watch(raid, None).await;
        let mut wire = Wire::open(
            fleet.servers[edge].target(),
            Codec::Json,
            &goes.access_token,
        )
        .await;
        wire.watch(raid, None).await;
        let player = goes.player.id;
        watcher
            .seek(|message| presence(message)?.0.contains(&player).then_some(()))
            .await;

        fleet.kill(edge).await;
        let killed = Instant::now();
        let gone = watcher
            .seek(|message| presence(message).map(|(_, offline)| offline.to_vec()))
            .await;
        assert_eq!(gone, [player]);
        assert!(killed.elapsed() > GRACE, "{:?}", killed.elapsed());
    })
    .await;
}

/// Who came, and who went.
fn presence(message: &ServerMessage) -> Option<(&[PlayerId], &[PlayerId])> {
    match message {
        ServerMessage::Presence {
            online, offline, ..
        } => Some((online, offline)),
        _ => None,
    }
}

#[tokio::test]
async fn a_deadline_whose_owner_is_long_dead_fires_once_on_time_though_nobody_is_connected() {
    // Somebody living owns the raid by then: the scan looks two seconds ahead.
    fires(Duration::from_secs(8), 1_500).await;
}

#[tokio::test]
async fn a_deadline_that_is_due_while_its_dead_owner_still_counts_as_alive_fires_once_with_its_lease()
 {
    fires(Duration::from_secs(1), 5_000).await;
}

/// The owner of a raid that nobody watches is killed so long before the deadline, which fires at most so many milliseconds
/// late.
async fn fires(before: Duration, late_max: i64) {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let store = fleet.site.store_beside().await;
        let Begun {
            raid,
            leader,
            deadline,
            owner,
        } = begun_at(&store, now().plus(-50_000)).await;
        store.deregister(owner).await.expect("retire");
        let token = fleet
            .site
            .token(Scope::Player, Some(&leader), Duration::from_secs(600));
        let mut wire = Wire::open(fleet.servers[OWNER].target(), Codec::Json, &token).await;
        wire.watch(raid, None).await;
        let seq = wire.say(raid, "I'll be back").await;
        drop(wire);
        let head = store.head(raid).await.expect("read").expect("a raid");
        let wait = u64::try_from(deadline.since(now())).expect("this machine is too slow");
        sleep(Duration::from_millis(wait).saturating_sub(before)).await;
        fleet.kill(OWNER).await;
        let after = store.head(raid).await.expect("read").expect("a raid");
        assert_eq!(
            (after.owner, after.epoch),
            (head.owner, head.epoch),
            "it was the owner to the end"
        );

        // Nobody asks the living anything.
        let ledger = || async {
            store
                .events(raid, Seq::ZERO, 100)
                .await
                .expect("the ledger")
        };
        while ledger().await.len() as u64 == seq.0 {
            sleep(Duration::from_millis(50)).await;
        }
        let late = now().since(deadline);
        assert!(
            (0..late_max).contains(&late),
            "fired {late} ms after the deadline"
        );
        let end = Event {
            seq: seq.next(),
            at: deadline,
            by: None,
            data: EventData::RaidFailed {
                reason: FailReason::Deadline,
            },
        };
        assert_eq!(ledger().await.last(), Some(&end));
        fleet.restart(OWNER).await;
        for server in &fleet.servers {
            let mut wire = Wire::open(server.target(), Codec::Json, &token).await;
            assert_eq!(wire.watch(raid, None).await.0, seq.next());
        }
        assert_eq!(ledger().await.len() as u64, seq.next().0, "once");
    })
    .await;
}
