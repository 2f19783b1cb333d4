//! A server at its capacity: full queues, a locked file, the largest possible raid, no files left.

use std::collections::BTreeSet;
use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::{Codec, Command, ErrorType, OpKey, Seq, ServerMessage};
use sqlx::{ConnectOptions, Connection, Executor, sqlite::SqliteConnectOptions};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::process::TestDatabase;
use crate::proxy::Direction::{ToClient, ToServer};
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid, target};
use crate::test_socket::{TestSocket, event_seq};
use crate::with_timeout;

fn say_command(text: &str) -> Command {
    Command::Say { text: text.into() }
}

#[tokio::test]
async fn every_command_is_answered_and_repeatable_when_the_mailbox_is_full() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database
            .start_with(&[("RAID__INBOX", "8"), ("STORE__BATCH_QUEUE", "2")])
            .await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &token).await;
        let (before, _) = socket.watch(raid, None).await;
        database.proxy().hold(&[ToServer, ToClient]);
        const COMMANDS: u64 = 1_000; // more than the server reads before it answers some of them
        let mut open = BTreeSet::new();
        for number in 1..=COMMANDS {
            open.insert(
                socket
                    .send_command(
                        raid,
                        Some(&format!("op-{number}")),
                        say_command(&number.to_string()),
                    )
                    .await,
            );
        }
        let mut overloaded = 0;
        let mut unavailable = 0;
        while overloaded == 0 || unavailable == 0 {
            let (id, error) = socket
                .wait_for(|message| match message {
                    ServerMessage::Error {
                        id: Some(id),
                        error,
                        ..
                    } => Some((*id, error.clone())),
                    _ => None,
                })
                .await;
            assert!(error.retry && error.retry_after_ms.is_some(), "{error:?}");
            match error.r#type {
                ErrorType::Overloaded => overloaded += 1,
                ErrorType::Unavailable => unavailable += 1,
                other => panic!("{other:?}"),
            }
            assert!(open.remove(&id), "answered twice");
        }
        database.proxy().release();
        // Refused commands are sent again until they are acknowledged.
        let mut acknowledged = BTreeSet::new();
        let mut again: Vec<_> = (1..=COMMANDS).filter(|id| !open.contains(id)).collect();
        let mut ops: std::collections::BTreeMap<u64, u64> =
            open.iter().map(|id| (*id, *id)).collect();
        while acknowledged.len() < COMMANDS as usize {
            for op in again.drain(..) {
                ops.insert(
                    socket
                        .send_command(
                            raid,
                            Some(&format!("op-{op}")),
                            say_command(&op.to_string()),
                        )
                        .await,
                    op,
                );
                sleep(Duration::from_millis(1)).await;
            }
            let (id, answer) = socket
                .wait_for(|message| match message {
                    ServerMessage::Ack { id, seq, .. } => Some((*id, Some(*seq))),
                    ServerMessage::Error {
                        id: Some(id),
                        error,
                        ..
                    } => {
                        assert!(error.retry, "{error:?}");
                        Some((*id, None))
                    }
                    _ => None,
                })
                .await;
            let op = ops.remove(&id).expect("answered once");
            match answer {
                Some(seq) => assert!(acknowledged.insert(seq), "two commands, one seq"),
                None => again.push(op),
            }
        }
        let head = Seq(before.0 + COMMANDS);
        assert_eq!(acknowledged.last(), Some(&head), "each took effect once");
    })
    .await;
}

#[tokio::test]
async fn commands_are_refused_while_another_program_locks_the_sqlite_file() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        let (before, _) = socket.watch(raid, None).await;
        let options: SqliteConnectOptions = database.url().parse().expect("a database url");
        let mut shell = options.connect().await.expect("open");
        shell.execute("BEGIN IMMEDIATE").await.expect("lock");
        let began = Instant::now();
        let error = socket
            .execute(raid, Some("locked"), say_command("locked"))
            .await
            .expect_err("no commit");
        assert_eq!((error.r#type, error.retry), (ErrorType::Unavailable, true));
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        sleep(Duration::from_secs(1)).await;
        shell.execute("ROLLBACK").await.expect("unlock");
        shell.close().await.expect("close");
        let seq = loop {
            match socket
                .execute(raid, Some("locked"), say_command("locked"))
                .await
            {
                Ok((seq, _)) => break seq,
                Err(error) => {
                    assert_eq!((error.r#type, error.retry), (ErrorType::Unavailable, true))
                }
            }
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(seq, before.next());
        assert_eq!(socket.say(raid, "after").await, seq.next());
        assert_eq!(socket.received_seqs(), [seq.0, seq.0 + 1]);
    })
    .await;
}

async fn assert_old_ops_are_found(database: TestDatabase) {
    let server = database
        .start_with(&[("RAID__OP_KEYS", "4"), ("RAID__IDLE_TIMEOUT_MS", "20")])
        .await;
    let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let raid = group.raid;
    let rest = group.players[0].rest().with_retry_timeout(Duration::ZERO);
    let mut seqs = Vec::new();
    for number in 0..60_u64 {
        let op = OpKey::try_from(format!("op-{number}")).expect("a key");
        let first = rest
            .send_command(raid, Some(&op), &say_command(&number.to_string()))
            .await
            .expect("said");
        assert!(!first.duplicate);
        seqs.push(first.seq);
        // At every moment of its release and reload in between, the raid must still find old ops.
        sleep(Duration::from_millis(number % 30)).await;
        let old = number / 2;
        let op = OpKey::try_from(format!("op-{old}")).expect("a key");
        let again = rest
            .send_command(raid, Some(&op), &say_command("again"))
            .await
            .expect("remembered");
        assert_eq!((again.seq, again.duplicate), (seqs[old as usize], true));
    }
    assert!(seqs.is_sorted_by(|a, b| a.next() == *b), "{seqs:?}");
}

#[tokio::test]
async fn an_op_is_remembered_after_eviction_and_idleness_on_sqlite() {
    with_timeout(async { assert_old_ops_are_found(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn an_op_is_remembered_after_eviction_and_idleness_on_postgres() {
    with_timeout(async { assert_old_ops_are_found(TestDatabase::postgres().await).await }).await;
}

/// 500 tasks and 50 messages of the longest possible texts: a snapshot far larger than a
/// connection may be behind.
#[tokio::test]
async fn the_largest_raid_reaches_a_slow_client_whole() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database
            .start_with(&[("LIMITS__WRITE_STALL_MS", "2000")])
            .await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(2)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let slow = group.add_member().await.access_token;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &token).await;
        let mut last = 0;
        for _ in 0..500 {
            let title = "🦀".repeat(120);
            last = socket
                .send_command(
                    raid,
                    None,
                    Command::AddTask {
                        title,
                        xp: 1_000,
                        minutes: 480,
                    },
                )
                .await;
        }
        socket.wait_for_result(last).await.expect("added");
        for _ in 0..50 {
            last = socket
                .send_command(raid, None, say_command(&"🦀".repeat(500)))
                .await;
        }
        socket.wait_for_result(last).await.expect("said");
        let link = Proxy::slow(server.target().address(), 200_000).await;
        let mut slow =
            TestSocket::connect_authenticated(&target(link.address()), Codec::Json, &slow).await;
        let (seq, _) = slow.watch(raid, None).await;
        let (tasks, messages) = slow
            .received
            .iter()
            .find_map(|message| match &**message {
                ServerMessage::Snapshot { state, .. } => {
                    Some((state.tasks.len(), state.messages.len()))
                }
                _ => None,
            })
            .expect("a snapshot");
        assert_eq!((tasks, messages), (500, 50));
        let full = socket
            .execute(
                raid,
                None,
                Command::AddTask {
                    title: "more".into(),
                    xp: 1,
                    minutes: 1,
                },
            )
            .await;
        assert_eq!(full.expect_err("enough").r#type, ErrorType::TooManyTasks);
        let after = socket.say(raid, "after the full raid").await;
        assert_eq!(
            (slow.wait_for(event_seq).await, after),
            (seq.0 + 1, seq.next())
        );
    })
    .await;
}

/// When no file is left for another connection, open connections are still served, and later ones
/// are accepted again.
#[tokio::test]
async fn a_server_out_of_files_serves_its_clients_and_recovers() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let mut server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        socket.watch(raid, None).await;
        server.set_open_files_max(60);
        let mut idle = Vec::new();
        for _ in 0..120 {
            idle.push(
                TcpStream::connect(server.target().address())
                    .await
                    .expect("the backlog takes it"),
            );
        }
        let before = server.usage().cpu;
        socket.say(raid, "still served").await;
        sleep(Duration::from_secs(1)).await;
        let spent = server.usage().cpu - before;
        assert!(
            spent < Duration::from_millis(700),
            "the server spins: {spent:?} of CPU time in a second"
        );
        assert!(server.is_running());
        idle.clear();
        let rest = RestClient::new(server.target())
            .expect("a REST client")
            .with_retry_timeout(Duration::from_secs(20));
        rest.sign_in_guest("late").await.expect("served again");
        socket.say(raid, "after the shortage").await;
    })
    .await;
}
