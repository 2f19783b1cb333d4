//! A node is killed, and its raids continue on another one.

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

/// The index of the owner: with players at home on each of three nodes, the first node owns the
/// raid.
const OWNER: usize = 0;
/// How long a raid may be without an owner for clients of other nodes.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
/// `raid.presence_grace_ms` of the nodes.
const GRACE: Duration = Duration::from_secs(5);
/// How often a player acts: often enough that the kill hits commands in flight.
const PACE: Duration = Duration::from_millis(100);

/// Returns the time of this machine's clock, which is the database's too.
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
        let mut cluster = Cluster::start(3).await;
        let group = cluster.start_group(30, &long_raid(30)).await;
        let raid = group.raid;
        let rest = group.players[1]
            .rest()
            .with_retry_timeout(Duration::from_secs(30));
        assert_eq!(cluster.owner_of(&rest, raid).await, OWNER);
        let token = group.add_member().await.access_token;
        let mut socket =
            TestSocket::connect_authenticated(cluster.servers[1].target(), Codec::Json, &token)
                .await;
        let game = group.start_playing_at_pace(9, PACE);
        game.wait_for_events(40).await;

        cluster.kill(OWNER).await;
        let killed = Instant::now();
        let command = Command::Say {
            text: "is anybody there?".into(),
        };
        let answer = timeout(OUTAGE_MAX, socket.execute(raid, Some("once"), command)).await;
        assert!(
            matches!(answer, Ok(Ok((_, false)))),
            "{answer:?} after {:?}",
            killed.elapsed()
        );
        game.wait_for_events(40).await;
        assert_ne!(cluster.owner_of(&rest, raid).await, OWNER);

        let group = game.stop().await;
        for (number, player) in group.players.iter().enumerate() {
            let reconnects = u64::from(number % 3 == OWNER);
            let counts = player.counts();
            assert_eq!(counts.reconnects, reconnects, "player {number}: {counts:?}");
        }
        let (verdict, _) = group.settle().await;
        verdict.assert_no_violations();
        assert!(verdict.acks > 80 && verdict.resumes == 10, "{verdict:?}");
        assert!(verdict.replays * 10 >= verdict.resumes * 9, "{verdict:?}");
    })
    .await;
}

#[tokio::test]
async fn a_killed_followers_clients_reconnect_and_no_others_are_disturbed() {
    with_timeout(async {
        let mut cluster = Cluster::start(3).await;
        let mut group = cluster.start_group(6, &long_raid(6)).await;
        let raid = group.raid;
        let follower = 1;
        let rest = group.players[OWNER].rest();
        assert_eq!(cluster.owner_of(&rest, raid).await, OWNER);
        group.wait_until_all_online().await;
        let from = group.clock.now();
        let game = group.start_playing_at_pace(6, PACE);
        game.wait_for_events(40).await;

        cluster.kill(follower).await;
        game.wait_for_events(40).await;
        sleep(OFFLINE_NOTICE_MAX).await;
        let to = game.clock.now();
        assert_eq!(cluster.owner_of(&rest, raid).await, OWNER);

        let group = game.stop().await;
        for (number, player) in group.players.iter().enumerate() {
            let reconnects = u64::from(number % 3 == follower);
            let counts = player.counts();
            assert_eq!(counts.reconnects, reconnects, "player {number}: {counts:?}");
        }
        let settled = group.settle_with_logs().await;
        settled.verdict.assert_no_violations();
        let errors = settled.check_presence(from, to);
        assert_eq!(
            (
                errors.absences,
                errors.false_offline,
                errors.false_leader_changes
            ),
            (0, 0, 0),
            "{errors:?}"
        );
        assert!(
            settled.verdict.resumes == 2 && settled.verdict.replays == 2,
            "{:?}",
            settled.verdict
        );
    })
    .await;
}

/// The counterpart of the grace: a player who stays away longer is shown offline.
#[tokio::test]
async fn a_player_lost_with_a_node_goes_offline_after_lease_and_grace() {
    with_timeout(async {
        let mut cluster = Cluster::start(3).await;
        let group = RaidGroup::create_on(&cluster.targets, 1, &long_raid(3)).await;
        let raid = group.raid;
        let follower = 1;
        let stays = group.add_member().await;
        let goes = group.add_member().await;
        let mut watcher = TestSocket::connect_authenticated(
            cluster.servers[OWNER].target(),
            Codec::Json,
            &stays.access_token,
        )
        .await;
        watcher.watch(raid, None).await;
        let mut socket = TestSocket::connect_authenticated(
            cluster.servers[follower].target(),
            Codec::Json,
            &goes.access_token,
        )
        .await;
        socket.watch(raid, None).await;
        let player = goes.player.id;
        watcher
            .wait_for(|message| presence_change(message)?.0.contains(&player).then_some(()))
            .await;

        cluster.kill(follower).await;
        let killed = Instant::now();
        let gone = watcher
            .wait_for(|message| presence_change(message).map(|(_, offline)| offline.to_vec()))
            .await;
        assert_eq!(gone, [player]);
        assert!(killed.elapsed() > GRACE, "{:?}", killed.elapsed());
    })
    .await;
}

/// Returns the players who came online and those who went offline.
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
    // A live instance owns the raid by then: the deadline scan looks two seconds ahead.
    assert_deadline_fires(Duration::from_secs(8), 1_500).await;
}

#[tokio::test]
async fn a_deadline_of_a_just_killed_owner_fires_once_when_its_lease_ends() {
    assert_deadline_fires(Duration::from_secs(1), 5_000).await;
}

/// Kills the owner of an unwatched raid this long before its deadline, and asserts that the
/// deadline fires at most this many milliseconds late.
async fn assert_deadline_fires(before: Duration, late_max: i64) {
    with_timeout(async {
        let mut cluster = Cluster::start(3).await;
        let store = cluster.database.shared_store().await;
        let AbandonedRaid {
            raid,
            leader,
            deadline,
            owner,
        } = create_abandoned_raid(&store, now().plus(-50_000)).await;
        store.deregister(owner).await.expect("retire");
        let token = cluster
            .database
            .token(Scope::Player, Some(&leader), Duration::from_secs(600));
        let mut socket =
            TestSocket::connect_authenticated(cluster.servers[OWNER].target(), Codec::Json, &token)
                .await;
        socket.watch(raid, None).await;
        let seq = socket.say(raid, "I'll be back").await;
        drop(socket);
        let head = store.head(raid).await.expect("read").expect("a raid");
        let wait = u64::try_from(deadline.since(now())).expect("this machine is too slow");
        sleep(Duration::from_millis(wait).saturating_sub(before)).await;
        cluster.kill(OWNER).await;
        let after = store.head(raid).await.expect("read").expect("a raid");
        assert_eq!(
            (after.owner, after.epoch),
            (head.owner, head.epoch),
            "the killed node was the owner to the end"
        );

        // No client sends the live instances a request.
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
        cluster.restart(OWNER).await;
        for server in &cluster.servers {
            let mut socket =
                TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
            assert_eq!(socket.watch(raid, None).await.0, seq.next());
        }
        assert_eq!(ledger().await.len() as u64, seq.next().0, "once");
    })
    .await;
}
