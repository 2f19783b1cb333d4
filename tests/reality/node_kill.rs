//! A node is killed, and its raids go on at another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raidhall::auth::Scope;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::{
    Codec, Command, Event, EventData, PlayerId, Seq, ServerMessage, UnixMillis,
};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, OFFLINE_NOTICE_MAX};
use crate::deadline::{AbandonedRaid, create_abandoned_raid};
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

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
async fn a_killed_owners_raid_continues_without_disconnects_elsewhere() {
    with_timeout(async {
        let mut fleet = Cluster::start(3).await;
        let party = fleet.start_group(30, &long_raid(30)).await;
        let raid = party.raid;
        let rest = party.players[1]
            .rest()
            .with_retry_timeout(Duration::from_secs(30));
        assert_eq!(fleet.owner_of(&rest, raid).await, OWNER);
        let token = party.add_member().await.access_token;
        let mut wire =
            TestSocket::connect_authenticated(fleet.servers[1].target(), Codec::Json, &token).await;
        let game = party.start_playing_at_pace(9, PACE);
        game.wait_for_events(40).await;

        fleet.kill(OWNER).await;
        let killed = Instant::now();
        let command = Command::Say {
            text: "is anybody there?".into(),
        };
        let answer = timeout(OUTAGE_MAX, wire.execute(raid, Some("once"), command)).await;
        assert!(
            matches!(answer, Ok(Ok((_, false)))),
            "{answer:?} after {:?}",
            killed.elapsed()
        );
        game.wait_for_events(40).await;
        assert_ne!(fleet.owner_of(&rest, raid).await, OWNER);

        let party = game.stop().await;
        for (number, player) in party.players.iter().enumerate() {
            let (reconnects, tally) = (u64::from(number % 3 == OWNER), player.counts());
            assert_eq!(tally.reconnects, reconnects, "player {number}: {tally:?}");
        }
        let (verdict, _) = party.settle().await;
        verdict.assert_no_violations();
        assert!(verdict.acks > 80 && verdict.resumes == 10, "{verdict:?}");
        assert!(verdict.replays * 10 >= verdict.resumes * 9, "{verdict:?}");
    })
    .await;
}

#[tokio::test]
async fn a_killed_followers_clients_reconnect_and_no_others_are_disturbed() {
    with_timeout(async {
        let mut fleet = Cluster::start(3).await;
        let mut party = fleet.start_group(6, &long_raid(6)).await;
        let (raid, edge) = (party.raid, 1);
        let rest = party.players[OWNER].rest();
        assert_eq!(fleet.owner_of(&rest, raid).await, OWNER);
        party.wait_until_all_online().await;
        let from = party.clock.now();
        let game = party.start_playing_at_pace(6, PACE);
        game.wait_for_events(40).await;

        fleet.kill(edge).await;
        game.wait_for_events(40).await;
        sleep(OFFLINE_NOTICE_MAX).await;
        let to = game.clock.now();
        assert_eq!(fleet.owner_of(&rest, raid).await, OWNER);

        let party = game.stop().await;
        for (number, player) in party.players.iter().enumerate() {
            let (reconnects, tally) = (u64::from(number % 3 == edge), player.counts());
            assert_eq!(tally.reconnects, reconnects, "player {number}: {tally:?}");
        }
        let settled = party.settle_with_logs().await;
        settled.verdict.assert_no_violations();
        let flaps = settled.check_presence(from, to);
        assert_eq!(
            (
                flaps.absences,
                flaps.false_offline,
                flaps.false_leader_changes
            ),
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
async fn a_player_lost_with_a_node_goes_offline_after_lease_and_grace() {
    with_timeout(async {
        let mut fleet = Cluster::start(3).await;
        let party = RaidGroup::create_on(&fleet.targets, 1, &long_raid(3)).await;
        let (raid, edge) = (party.raid, 1);
        let (stays, goes) = (party.add_member().await, party.add_member().await);
        let mut watcher = TestSocket::connect_authenticated(
            fleet.servers[OWNER].target(),
            Codec::Json,
            &stays.access_token,
        )
        .await;
        watcher.watch(raid, None).await;
        let mut wire = TestSocket::connect_authenticated(
            fleet.servers[edge].target(),
            Codec::Json,
            &goes.access_token,
        )
        .await;
        wire.watch(raid, None).await;
        let player = goes.player.id;
        watcher
            .wait_for(|message| presence_change(message)?.0.contains(&player).then_some(()))
            .await;

        fleet.kill(edge).await;
        let killed = Instant::now();
        let gone = watcher
            .wait_for(|message| presence_change(message).map(|(_, offline)| offline.to_vec()))
            .await;
        assert_eq!(gone, [player]);
        assert!(killed.elapsed() > GRACE, "{:?}", killed.elapsed());
    })
    .await;
}

/// Who came, and who went.
fn presence_change(message: &ServerMessage) -> Option<(&[PlayerId], &[PlayerId])> {
    match message {
        ServerMessage::Presence {
            online, offline, ..
        } => Some((online, offline)),
        _ => None,
    }
}

#[tokio::test]
async fn a_deadline_of_a_long_dead_owner_fires_once_on_time() {
    // Somebody living owns the raid by then: the scan looks two seconds ahead.
    assert_deadline_fires(Duration::from_secs(8), 1_500).await;
}

#[tokio::test]
async fn a_deadline_of_a_just_killed_owner_fires_once_when_its_lease_ends() {
    assert_deadline_fires(Duration::from_secs(1), 5_000).await;
}

/// The owner of a raid that nobody watches is killed so long before the deadline, which fires at most so many milliseconds
/// late.
async fn assert_deadline_fires(before: Duration, late_max: i64) {
    with_timeout(async {
        let mut fleet = Cluster::start(3).await;
        let store = fleet.database.shared_store().await;
        let AbandonedRaid {
            raid,
            leader,
            deadline,
            owner,
        } = create_abandoned_raid(&store, now().plus(-50_000)).await;
        store.deregister(owner).await.expect("retire");
        let token = fleet
            .database
            .token(Scope::Player, Some(&leader), Duration::from_secs(600));
        let mut wire =
            TestSocket::connect_authenticated(fleet.servers[OWNER].target(), Codec::Json, &token)
                .await;
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
            let mut wire =
                TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
            assert_eq!(wire.watch(raid, None).await.0, seq.next());
        }
        assert_eq!(ledger().await.len() as u64, seq.next().0, "once");
    })
    .await;
}
