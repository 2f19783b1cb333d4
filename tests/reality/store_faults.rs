//! Postgres restarts, stalls, and loses replies while a raid is played.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorBody, ErrorType, RaidId, Seq, ServerMessage,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::postgres_server::PostgresServer;
use crate::process::{TestDatabase, TestServer};
use crate::proxy::Direction::{ToClient, ToServer};
use crate::raid_group::{PlayingGroup, RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

async fn start_group(server: &TestServer) -> (PlayingGroup, RestClient) {
    let group = RaidGroup::start(server.target(), 4, &long_raid(4)).await;
    let rest = group.players[0]
        .rest()
        .with_retry_timeout(Duration::from_secs(30));
    (group.start_playing(), rest)
}

/// Waits until a raid has this many more events.
async fn wait_for_events(rest: &RestClient, raid: RaidId, events: u64) {
    let seq = || async { rest.raid(raid).await.expect("the raid").seq.0 };
    let from = seq().await;
    while seq().await < from + events {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Stops and judges a group: everything acknowledged took effect exactly once, and every total
/// equals the ledger's sum.
async fn stop_and_judge(game: PlayingGroup) {
    let (verdict, _) = game.stop().await.settle().await;
    verdict.assert_no_violations();
    println!("{verdict:?}");
    assert!(verdict.acks > 50, "{verdict:?}");
}

#[tokio::test]
async fn commands_are_acknowledged_once_or_refused_when_postgres_is_cut() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database.start().await;
        let (game, rest) = start_group(&server).await;
        for _ in 0..10 {
            wait_for_events(&rest, game.raid, 3).await;
            database.proxy().cut();
        }
        // Longer than a commit is retried: these commands are refused, and their raids reload.
        wait_for_events(&rest, game.raid, 3).await;
        database.proxy().refuse();
        sleep(Duration::from_millis(2_500)).await;
        database.proxy().release();
        wait_for_events(&rest, game.raid, 20).await;
        stop_and_judge(game).await;
    })
    .await;
}

#[tokio::test]
async fn every_effect_counts_once_when_replies_to_commits_are_lost() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database.start().await;
        let (game, rest) = start_group(&server).await;
        for _ in 0..25 {
            wait_for_events(&rest, game.raid, 2).await;
            database.proxy().lose_answers();
        }
        wait_for_events(&rest, game.raid, 10).await;
        assert!(
            database.proxy().lost_answers() >= 25,
            "{} answers lost",
            database.proxy().lost_answers()
        );
        stop_and_judge(game).await;
    })
    .await;
}

/// Asserts that an error is a retryable refusal with a retry time.
fn assert_unavailable(error: &ErrorBody) {
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
}

fn say_command(text: &str) -> Command {
    Command::Say { text: text.into() }
}

/// Returns two members' connections, both watching.
async fn open_two_sockets(server: &TestServer) -> (RaidId, TestSocket, TestSocket) {
    let group = RaidGroup::create(server.target(), 1, &long_raid(3)).await;
    let mut sockets = Vec::new();
    for codec in Codec::ALL {
        let token = group.add_member().await.access_token;
        let mut socket = TestSocket::connect_authenticated(server.target(), codec, &token).await;
        socket.watch(group.raid, None).await;
        sockets.push(socket);
    }
    let second = sockets.pop().expect("two");
    let first = sockets.pop().expect("two");
    (group.raid, first, second)
}

/// Sends a command, repeating it after each error's retry time, until it is acknowledged.
async fn send_until_acknowledged(
    socket: &mut TestSocket,
    raid: RaidId,
    op: &str,
    command: &Command,
) -> (Seq, bool) {
    loop {
        match socket.execute(raid, Some(op), command.clone()).await {
            Ok(acknowledged) => return acknowledged,
            Err(error) => {
                assert_unavailable(&error);
                sleep(Duration::from_millis(error.retry_after_ms.unwrap_or(0))).await;
            }
        }
    }
}

#[tokio::test]
async fn a_postgres_stall_refuses_commands_but_keeps_signals_and_clients() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database.start().await;
        let (raid, mut ada, mut bob) = open_two_sockets(&server).await;
        let before = ada.say(raid, "before").await;
        database.proxy().hold(&[ToServer, ToClient]);
        let began = Instant::now();
        let number = ada
            .send_command(raid, Some("stalled"), say_command("once"))
            .await;

        // Signals need no store.
        bob.send(ClientMessage::Signal {
            id: None,
            raid,
            kind: "emote".into(),
            data: json!(1),
        })
        .await;
        ada.wait_for(|message| matches!(message, ServerMessage::Signal { .. }).then_some(()))
            .await;
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "signals wait for the store"
        );

        assert_unavailable(&ada.wait_for_result(number).await.expect_err("no commit"));
        let refused = began.elapsed();
        assert!(
            refused >= Duration::from_millis(1_900) && refused < Duration::from_secs(4),
            "{refused:?}"
        );
        assert_unavailable(
            &ada.execute(raid, Some("stalled"), say_command("once"))
                .await
                .expect_err("no store"),
        );
        let ready = RestClient::new(server.target()).expect("a REST client");
        while ready.is_ready().await {
            sleep(Duration::from_millis(50)).await;
        }
        bob.send(ClientMessage::Signal {
            id: None,
            raid,
            kind: "emote".into(),
            data: json!(2),
        })
        .await;
        ada.wait_for(|message| matches!(message, ServerMessage::Signal { .. }).then_some(()))
            .await;
        sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;

        database.proxy().release();
        let (seq, _) =
            send_until_acknowledged(&mut ada, raid, "stalled", &say_command("once")).await;
        assert_eq!(seq, before.next());
        assert_eq!(
            ada.execute(raid, Some("stalled"), say_command("once"))
                .await,
            Ok((seq, true))
        );
        let after = bob.say(raid, "after").await;
        assert_eq!(after, seq.next());
        while !ready.is_ready().await {
            sleep(Duration::from_millis(50)).await;
        }
        for socket in [&ada, &bob] {
            assert!(
                socket.received_seqs().is_sorted_by(|a, b| a + 1 == *b),
                "{:?}",
                socket.received_seqs()
            );
        }
        assert_eq!(bob.received_seqs().last(), Some(&after.0));
    })
    .await;
}

/// The session gives up, reloads the raid over new connections and goes on; then its old batch
/// arrives.
#[tokio::test]
async fn a_batch_that_arrives_after_the_reload_is_fenced() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database.start().await;
        let (raid, mut ada, mut bob) = open_two_sockets(&server).await;
        let before = ada.say(raid, "before").await;
        database.proxy().hold_open_connections(&[ToServer]);
        assert_unavailable(
            &ada.execute(raid, Some("late"), say_command("late"))
                .await
                .expect_err("no commit"),
        );
        let (seq, duplicate) =
            send_until_acknowledged(&mut ada, raid, "late", &say_command("late")).await;
        assert_eq!((seq, duplicate), (before.next(), false));

        database.proxy().release();
        for number in 1..=20 {
            let said = bob.say(raid, format!("after {number}")).await;
            assert_eq!(said.0, seq.0 + number);
        }
        let rows = database
            .store()
            .await
            .events(raid, Seq::ZERO, 1_000)
            .await
            .expect("the ledger");
        let texts = rows.iter().filter(|event| {
            matches!(&event.data,
            raidhall_protocol::EventData::Said { text } if text == "late")
        });
        assert_eq!(texts.count(), 1);
        assert!(
            rows.iter()
                .zip(1..)
                .all(|(event, seq)| event.seq == Seq(seq)),
            "the ledger has a hole"
        );
        assert_eq!(
            bob.received_seqs().last().copied(),
            ada.execute(raid, Some("late"), say_command("late"))
                .await
                .ok()
                .map(|_| seq.0 + 20)
        );
    })
    .await;
}

/// The other order: the old batch arrives before the reload.
#[tokio::test]
async fn a_batch_that_arrives_before_the_reload_makes_its_retry_a_repeat() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database.start().await;
        let (raid, mut ada, mut bob) = open_two_sockets(&server).await;
        let before = ada.say(raid, "before").await;
        // The statement arrives; its reply does not.
        database.proxy().hold(&[ToClient]);
        assert_unavailable(
            &ada.execute(raid, Some("late"), say_command("late"))
                .await
                .expect_err("no answer"),
        );
        database.proxy().release();
        let (seq, duplicate) =
            send_until_acknowledged(&mut ada, raid, "late", &say_command("late")).await;
        assert_eq!((seq, duplicate), (before.next(), true));
        assert_eq!(bob.say(raid, "after").await, seq.next());
        for socket in [&ada, &bob] {
            assert!(
                socket.received_seqs().is_sorted_by(|a, b| a + 1 == *b),
                "{:?}",
                socket.received_seqs()
            );
        }
        assert_eq!(
            bob.received_seqs()[bob.received_seqs().len() - 2..],
            [seq.0, seq.0 + 1]
        );
    })
    .await;
}

#[tokio::test]
async fn a_postgres_crash_and_recovery_loses_no_acknowledged_command() {
    with_timeout(async {
        let mut postgres = PostgresServer::start().await;
        let database = TestDatabase::on_server(&postgres).await;
        let server = database.start().await;
        let (game, rest) = start_group(&server).await;
        for _ in 0..3 {
            wait_for_events(&rest, game.raid, 30).await;
            postgres.crash_and_recover().await;
        }
        wait_for_events(&rest, game.raid, 30).await;
        stop_and_judge(game).await;
    })
    .await;
}

/// A request that creates something is repeated with its key when the reply is lost.
#[tokio::test]
async fn lost_replies_create_a_raid_once_and_keep_the_sign_in() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database.start().await;
        let rest = RestClient::new(server.target())
            .expect("a REST client")
            .with_retry_timeout(Duration::from_secs(30));
        let mut tokens = rest.sign_in_guest("Ada").await.expect("a guest");
        for round in 0..12 {
            let own = rest.with_token(&tokens.access_token);
            let key = raidhall_protocol::OpKey::try_from(format!("raid-{round}")).expect("a key");
            database.proxy().lose_answers();
            let made = own
                .create_raid(&long_raid(2), Some(&key))
                .await
                .expect("a raid");
            assert_eq!(
                own.create_raid(&long_raid(2), Some(&key))
                    .await
                    .expect("a raid")
                    .state,
                made.state
            );
            database.proxy().lose_answers();
            tokens = rest
                .refresh_tokens(&tokens.refresh_token)
                .await
                .expect("the next pair");
            let own = rest.with_token(&tokens.access_token);
            database.proxy().lose_answers();
            let answer = own
                .send_command(made.state.id, Some(&key), &say_command("once"))
                .await
                .expect("said");
            let events = own.all_events(made.state.id).await.expect("the ledger");
            assert_eq!((answer.seq, events.len()), (Seq(3), 3), "{events:?}");
        }
        let mine = database
            .store()
            .await
            .raids_by_member(tokens.player.id, None, None, 100)
            .await
            .expect("the list");
        assert_eq!(mine.len(), 12, "one raid for each key");
        assert!(
            database.proxy().lost_answers() >= 36,
            "{} answers lost",
            database.proxy().lost_answers()
        );
    })
    .await;
}

#[tokio::test]
async fn requests_without_postgres_are_refused_with_503_and_a_retry_time() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let server = database
            .start_with(&[("STORE__CONNECT_TIMEOUT_MS", "500")])
            .await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let rest = group.players[0].rest().with_retry_timeout(Duration::ZERO);
        database.proxy().refuse();
        let key = raidhall_protocol::OpKey::try_from("gone".to_owned()).expect("a key");
        let results = [
            rest.sign_in_guest("Bob").await.map(drop),
            rest.profile().await.map(drop),
            rest.create_raid(&long_raid(2), Some(&key)).await.map(drop),
            rest.send_command(group.raid, Some(&key), &say_command("gone"))
                .await
                .map(drop),
            rest.events(group.raid, Seq::ZERO, 10).await.map(drop),
        ];
        for result in results {
            match result {
                Err(raidhall_loadtest::client::RestClientError::Refused {
                    status: 503,
                    body,
                    ..
                }) => assert_unavailable(&body),
                other => panic!("{other:?}"),
            }
        }
        database.proxy().release();
        let back = rest.with_retry_timeout(Duration::from_secs(30));
        back.profile().await.expect("a profile");
        let answer = back
            .send_command(group.raid, Some(&key), &say_command("gone"))
            .await
            .expect("said");
        assert_eq!((answer.seq, answer.duplicate), (Seq(3), false));
    })
    .await;
}
