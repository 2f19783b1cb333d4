//! Wrong clocks. Time comes from the database, whichever node owns a raid and whatever its own clock
//! says; and a jump of the database's clock counts only if it lasts.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::{Codec, Event, EventData, Seq, ServerMessage, UnixMillis};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::deadline::{AbandonedRaid, create_abandoned_raid};
use crate::node_kill::now;
use crate::postgres_server::PostgresServer;
use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How far the times of two nodes may differ, and those of a node and the database.
const APART_MAX_MS: i64 = 2_000;
const HOUR_SECS: i64 = 3_600;
/// Frequent beats, because a beat carries the server's time.
const SETTINGS: [(&str, &str); 1] = [("LIMITS__HEARTBEAT_MS", "500")];

fn faketime_library() -> String {
    env::var("RAIDHALL_TEST_FAKETIME").expect("RAIDHALL_TEST_FAKETIME is not set: run `make test`")
}

/// Starts three nodes; the clock of the second is an hour ahead.
async fn start_cluster_with_skewed_node() -> Cluster {
    let library = faketime_library();
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", "+1h"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut cluster = Cluster::start_on(TestDatabase::postgres().await, 1, &SETTINGS).await;
    cluster.add_node(&SETTINGS, &environment).await;
    cluster.add_node(&SETTINGS, &[]).await;
    let ahead = second_of_day(&cluster.servers[1]).await - second_of_day(&cluster.servers[0]).await;
    let off = (ahead - HOUR_SECS).rem_euclid(24 * HOUR_SECS);
    assert!(off.min(24 * HOUR_SECS - off) < 10, "{ahead} s ahead");
    cluster
}

/// Returns a server's own time of day in seconds, from the `Date` of its responses (RFC 9110
/// section 5.6.7).
async fn second_of_day(server: &TestServer) -> i64 {
    let url = format!("http://{}/healthz", server.target().address());
    let answer = reqwest::get(url).await.expect("an answer");
    let date = answer.headers()["date"]
        .to_str()
        .expect("a date")
        .to_owned();
    let time = date
        .split(' ')
        .nth(4)
        .unwrap_or_else(|| panic!("no time in {date:?}"));
    time.split(':').fold(0, |sum, part| {
        sum * 60 + part.parse::<i64>().expect("a number")
    })
}

fn is_close_to(time: UnixMillis, now: UnixMillis) -> bool {
    time.since(now).abs() < APART_MAX_MS
}

#[tokio::test]
async fn nodes_with_clocks_an_hour_apart_agree_on_time_and_tokens() {
    with_timeout(async {
        let cluster = start_cluster_with_skewed_node().await;
        for minting in 0..2 {
            let rest = RestClient::with_targets(cluster.targets.with_home(minting))
                .expect("a REST client");
            let tokens = rest.sign_in_guest("Ada").await.expect("a guest");
            for server in &cluster.servers {
                let mut socket = TestSocket::connect(server.target(), Codec::Json).await;
                socket.send(hello_message(&tokens.access_token)).await;
                for _ in 0..2 {
                    let time = socket.wait_for(server_time).await;
                    assert!(
                        is_close_to(time, now()),
                        "server time {time:?} at {:?}",
                        now()
                    );
                }
                let own = RestClient::new(server.target())
                    .expect("a REST client")
                    .with_token(&tokens.access_token);
                own.profile().await.expect("a profile");
                own.refresh_tokens(&tokens.refresh_token)
                    .await
                    .expect("the next tokens");
            }
        }
    })
    .await;
}

fn hello_message(token: &str) -> raidhall_protocol::ClientMessage {
    raidhall_protocol::ClientMessage::Hello {
        token: token.to_owned(),
        client: None,
    }
}

fn server_time(message: &ServerMessage) -> Option<UnixMillis> {
    match message {
        ServerMessage::Welcome { now, .. } | ServerMessage::Beat { now, .. } => Some(*now),
        _ => None,
    }
}

#[tokio::test]
async fn event_times_stay_right_when_a_raid_moves_between_skewed_nodes() {
    with_timeout(async {
        let mut cluster = start_cluster_with_skewed_node().await;
        let group = RaidGroup::create_on(&cluster.targets, 1, &long_raid(1)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let mut said = Vec::new();
        // The raid moves to the skewed node by a kill, and back by a drain.
        for owner in [0, 1, 2] {
            let mut socket = TestSocket::connect_authenticated(
                cluster.servers[owner].target(),
                Codec::Json,
                &token,
            )
            .await;
            socket.watch(raid, None).await;
            let rest = RestClient::new(cluster.servers[owner].target())
                .expect("a REST client")
                .with_token(&token);
            loop {
                let text = format!("from {owner}");
                said.push((socket.say(raid, text.clone()).await, text, now()));
                if cluster.owner_of(&rest, raid).await == owner {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
            let text = format!("at {owner}");
            said.push((socket.say(raid, text.clone()).await, text, now()));
            drop(socket);
            if owner == 1 {
                cluster.servers[owner].signal(Signal::TERM);
                assert_eq!(
                    cluster.servers[owner]
                        .exit_code(Duration::from_secs(30))
                        .await,
                    Some(0)
                );
            } else {
                cluster.kill(owner).await;
            }
        }
        let ledger = cluster
            .database
            .shared_store()
            .await
            .events(raid, Seq::ZERO, 1_000)
            .await
            .expect("the ledger");
        assert!(
            ledger.windows(2).all(|pair| pair[0].at <= pair[1].at),
            "{ledger:?}"
        );
        assert!(
            ledger
                .iter()
                .zip(1..)
                .all(|(event, seq)| event.seq == Seq(seq)),
            "contiguous: {ledger:?}"
        );
        let spoken = ledger
            .iter()
            .filter(|event| matches!(event.data, EventData::Said { .. }))
            .count();
        assert_eq!(spoken, said.len(), "each text once, and nothing else");
        for (seq, text, at) in said {
            let event = ledger
                .iter()
                .find(|event| event.seq == seq)
                .expect("an acknowledged event");
            assert_eq!(event.data, EventData::Said { text });
            assert!(is_close_to(event.at, at), "{event:?} at {at:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_deadline_fires_at_the_same_time_on_nodes_an_hour_apart() {
    with_timeout(async {
        let cluster = start_cluster_with_skewed_node().await;
        let store = cluster.database.shared_store().await;
        for owner in 0..2 {
            let begun = create_abandoned_raid(&store, now().plus(-54_000)).await;
            let AbandonedRaid {
                raid,
                leader,
                deadline,
                owner: former,
            } = begun;
            store.deregister(former).await.expect("retire");
            let token =
                cluster
                    .database
                    .token(Scope::Player, Some(&leader), Duration::from_secs(600));
            let mut socket = TestSocket::connect_authenticated(
                cluster.servers[owner].target(),
                Codec::Json,
                &token,
            )
            .await;
            socket.watch(raid, None).await;
            let rest = RestClient::new(cluster.servers[2].target())
                .expect("a REST client")
                .with_token(&token);
            assert_eq!(cluster.owner_of(&rest, raid).await, owner);
            let end = socket.wait_for(failed_event).await;
            let late = now().since(deadline);
            assert!(
                (0..APART_MAX_MS).contains(&late),
                "{late} ms after the deadline"
            );
            let data = EventData::RaidFailed {
                reason: FailReason::Deadline,
            };
            assert_eq!((end.at, end.by, end.data), (deadline, None, data));
        }
    })
    .await;
}

fn failed_event(message: &ServerMessage) -> Option<Event> {
    match message {
        ServerMessage::Event { event, .. } => {
            matches!(event.data, EventData::RaidFailed { .. }).then(|| event.clone())
        }
        _ => None,
    }
}

/// A wall clock that a test sets, for the processes with its environment.
struct FakeClock {
    directory: TempDir,
}

impl FakeClock {
    fn new() -> FakeClock {
        let directory = tempfile::tempdir().expect("a directory");
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), readable).expect("readable by Postgres's user");
        let clock = FakeClock { directory };
        clock.set("+0");
        clock
    }

    /// Sets the clock's difference from the time of day, such as `+10m`.
    fn set(&self, difference: &str) {
        let next = self.directory.path().join("next");
        std::fs::write(&next, difference).expect("write the difference");
        std::fs::rename(next, self.path()).expect("set the difference");
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    fn environment(&self) -> Vec<(String, String)> {
        let path = self.path().display().to_string();
        [
            ("LD_PRELOAD", faketime_library()),
            ("FAKETIME_TIMESTAMP_FILE", path),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// A database with a clock that the test sets, a server on it, and a raid of which a socket is
/// told. With SQLite the server has the clock, too.
struct RaidOnFakeClock {
    clock: FakeClock,
    socket: TestSocket,
    deadline: UnixMillis,
    server: TestServer,
    _database: TestDatabase,
    _postgres: Option<PostgresServer>,
}

impl RaidOnFakeClock {
    /// Starts the server and a raid whose deadline is in so many milliseconds.
    async fn start(is_sqlite: bool, deadline_in_ms: i64) -> RaidOnFakeClock {
        let clock = FakeClock::new();
        let environment = clock.environment();
        let postgres = if is_sqlite {
            None
        } else {
            Some(PostgresServer::start_in(environment.clone()).await)
        };
        let database = match &postgres {
            Some(postgres) => TestDatabase::on_server(postgres).await,
            None => TestDatabase::sqlite().await,
        };
        let store = database.migrated_store().await;
        let began = now().plus(deadline_in_ms - 60_000);
        let abandoned = create_abandoned_raid(&store, began).await;
        store.deregister(abandoned.owner).await.expect("retire");
        drop(store);
        let environment: Vec<_> = environment
            .iter()
            .filter(|_| is_sqlite)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let server = database
            .start_with_environment(&SETTINGS, &environment)
            .await;
        let token = database.token(
            Scope::Player,
            Some(&abandoned.leader),
            Duration::from_secs(600),
        );
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        socket.watch(abandoned.raid, None).await;
        RaidOnFakeClock {
            clock,
            socket,
            deadline: abandoned.deadline,
            server,
            _database: database,
            _postgres: postgres,
        }
    }
}

/// A jump and its end are both shorter than what confirms a jump.
async fn assert_short_jump_changes_nothing(is_sqlite: bool, jump: &str) {
    let mut raid = RaidOnFakeClock::start(is_sqlite, 15_000).await;
    raid.clock.set(jump);
    raid.server.logged_line("the database's clock jumped").await;
    for _ in 0..8 {
        let time = raid.socket.wait_for(server_time).await;
        assert!(is_close_to(time, now()), "{time:?} at {:?}", now());
    }
    raid.clock.set("+0");
    let end = raid.socket.wait_for(failed_event).await;
    let late = now().since(raid.deadline);
    assert!(
        (0..APART_MAX_MS).contains(&late),
        "{late} ms after the deadline"
    );
    assert_eq!(end.at, raid.deadline);
}

#[tokio::test]
async fn a_short_jump_of_the_sqlite_clock_delays_no_deadline() {
    with_timeout(async {
        tokio::join!(
            assert_short_jump_changes_nothing(true, "+10m"),
            assert_short_jump_changes_nothing(true, "-10m"),
        );
    })
    .await;
}

#[tokio::test]
async fn a_short_jump_of_the_postgres_clock_delays_no_deadline() {
    with_timeout(async {
        tokio::join!(
            assert_short_jump_changes_nothing(false, "+10m"),
            assert_short_jump_changes_nothing(false, "-10m"),
        );
    })
    .await;
}

/// A jump ahead that lasts makes a deadline due. When it ends, time runs at half speed.
async fn assert_lasting_jump_counts(is_sqlite: bool) {
    const JUMP_MS: i64 = 600_000;
    let mut raid = RaidOnFakeClock::start(is_sqlite, 300_000).await;
    raid.clock.set("+10m");
    let end = raid.socket.wait_for(failed_event).await;
    assert_eq!(end.at, raid.deadline);
    let time = raid.socket.wait_for(server_time).await;
    assert!(is_close_to(time, now().plus(JUMP_MS)), "{time:?}");
    raid.clock.set("+0");
    let right_since = now();
    let mut last = time;
    while last.since(now()) > JUMP_MS - APART_MAX_MS {
        let time = raid.socket.wait_for(server_time).await;
        assert!(time > last, "{last:?}, then {time:?}");
        last = time;
    }
    let passed = now().since(right_since);
    assert!(
        passed >= 10_000 + 2 * APART_MAX_MS - 1_000,
        "time changed by 2 s within {passed} ms"
    );
}

#[tokio::test]
async fn a_lasting_jump_of_the_database_clock_counts_and_time_never_goes_back() {
    with_timeout(async {
        tokio::join!(
            assert_lasting_jump_counts(true),
            assert_lasting_jump_counts(false)
        );
    })
    .await;
}

#[tokio::test]
async fn a_lease_written_during_a_jump_does_not_delay_the_takeover() {
    with_timeout(async {
        let clock = FakeClock::new();
        let postgres = PostgresServer::start_in(clock.environment()).await;
        let database = TestDatabase::on_server(&postgres).await;
        database.migrated_store().await;
        let mut cluster = Cluster::start_on(database, 2, &[]).await;
        let group = RaidGroup::create_on(&cluster.targets, 1, &long_raid(1)).await;
        let token = group.add_member().await.access_token;
        let rest = RestClient::new(cluster.servers[1].target())
            .expect("a REST client")
            .with_token(&token);
        let mut socket = cluster.open_socket(0, group.raid, &token).await;
        socket.say(group.raid, "hello").await;
        assert_eq!(cluster.owner_of(&rest, group.raid).await, 0);
        clock.set("+10m");
        let store = cluster.database.shared_store().await;
        let minutes_ahead = now().plus(540_000);
        while !(store.instances().await.expect("instances").iter())
            .all(|instance| instance.lease_until > minutes_ahead)
        {
            sleep(Duration::from_millis(20)).await;
        }
        cluster.kill(0).await;
        clock.set("+0");
        let begun = now();
        let mut socket = cluster.open_socket(1, group.raid, &token).await;
        socket.say(group.raid, "still here").await;
        let waited = now().since(begun);
        assert!(waited < 10_000, "taken over after {waited} ms");
    })
    .await;
}
