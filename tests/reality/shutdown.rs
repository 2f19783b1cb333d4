//! A server that is asked to stop by a signal.

use std::time::Duration;

use raidhall_protocol::{Codec, Command, ServerMessage};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::process::TestDatabase;
use crate::proxy::Direction::{ToClient, ToServer};
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid, target};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How long the disconnection of the clients is spread over.
const DRAIN_SPREAD: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_secs(2);

async fn assert_all_clients_are_closed(database: TestDatabase) {
    let mut server = database.start().await;
    let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let token = group.add_member().await.access_token;
    let mut sockets = Vec::new();
    for number in 0..12 {
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::ALL[number % 2], &token)
                .await;
        socket.watch(group.raid, None).await;
        sockets.push(socket);
    }
    let began = Instant::now();
    server.signal(Signal::TERM);
    let closing = sockets.into_iter().map(|mut socket| {
        tokio::spawn(async move {
            let closed = socket.wait_for_close().await;
            let bye = socket
                .received
                .iter()
                .rev()
                .find_map(|message| match &**message {
                    ServerMessage::Bye {
                        reconnect_after_ms, ..
                    } => Some(*reconnect_after_ms),
                    _ => None,
                });
            (closed.code, bye, began.elapsed())
        })
    });
    let mut waits = Vec::new();
    for closing in closing.collect::<Vec<_>>() {
        let (code, bye, after) = closing.await.expect("a client");
        assert_eq!(code, Some(4200));
        assert!(after < DRAIN_SPREAD + MARGIN, "closed after {after:?}");
        waits.push(bye.expect("a bye before the close"));
    }
    assert!(waits.iter().all(|wait| *wait < 2_000), "{waits:?}");
    assert!(
        waits.iter().any(|wait| *wait != waits[0]),
        "spread out: {waits:?}"
    );
    assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
    assert!(
        began.elapsed() < DRAIN_SPREAD + MARGIN + Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn sigterm_closes_every_client_with_4200_and_exits_with_0_on_sqlite() {
    with_timeout(async { assert_all_clients_are_closed(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn sigterm_closes_every_client_with_4200_and_exits_with_0_on_postgres() {
    with_timeout(async { assert_all_clients_are_closed(TestDatabase::postgres().await).await })
        .await;
}

async fn assert_deploy_during_play(database: TestDatabase) {
    let mut server = database.start().await;
    let proxy = Proxy::to(server.target().address()).await;
    let group = RaidGroup::start(&target(proxy.address()), 4, &long_raid(4)).await;
    let raid = group.raid;
    let rest = group.players[0]
        .rest()
        .with_retry_timeout(Duration::from_secs(30));
    let leader = group.players[0].player_ref().id;
    let game = group.start_playing();
    for _ in 0..2 {
        let from = rest.raid(raid).await.expect("the raid").seq.0;
        while rest.raid(raid).await.expect("the raid").seq.0 < from + 20 {
            sleep(Duration::from_millis(20)).await;
        }
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
        server = database.start().await;
        proxy.set_server(server.target().address());
    }
    let from = rest.raid(raid).await.expect("the raid").seq.0;
    while rest.raid(raid).await.expect("the raid").seq.0 < from + 20 {
        sleep(Duration::from_millis(20)).await;
    }
    let (verdict, state) = game.stop().await.settle().await;
    verdict.assert_no_violations();
    assert_eq!(state.leader, Some(leader), "the leader does not change");
}

#[tokio::test]
async fn commands_in_flight_during_deploys_are_acknowledged_once_on_sqlite() {
    with_timeout(async { assert_deploy_during_play(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn commands_in_flight_during_deploys_are_acknowledged_once_on_postgres() {
    with_timeout(async { assert_deploy_during_play(TestDatabase::postgres().await).await }).await;
}

#[tokio::test]
async fn a_sigterm_right_after_startup_stops_the_server() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        for _ in 0..20 {
            let mut server = database.start().await;
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        // Without the second signal the stop would take far longer.
        let mut server = database
            .start_with(&[("SHUTDOWN__SPREAD_MS", "25000")])
            .await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let token = group.add_member().await.access_token;
        let mut sockets = Vec::new();
        for _ in 0..8 {
            sockets.push(
                TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await,
            );
        }
        server.signal(Signal::TERM);
        while !database.logs().contains("told to stop") {
            sleep(Duration::from_millis(10)).await;
        }
        let began = Instant::now();
        server.signal(Signal::INT);
        assert_eq!(server.exit_code(Duration::from_secs(10)).await, Some(130));
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_whose_database_stalls_still_stops_in_time() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let mut server = database
            .start_with(&[("SHUTDOWN__TIMEOUT_MS", "4000")])
            .await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let token = group.add_member().await.access_token;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        socket.watch(group.raid, None).await;
        database.proxy().hold(&[ToServer, ToClient]);
        socket
            .send_command(group.raid, Some("lost"), Command::Say { text: "?".into() })
            .await;
        server.signal(Signal::TERM);
        assert_eq!(socket.wait_for_close().await.code, Some(4200));
        assert_eq!(server.exit_code(Duration::from_secs(8)).await, Some(0));
    })
    .await;
}
