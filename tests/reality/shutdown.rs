//! Being told to stop.

use std::time::Duration;

use raidhall_protocol::{Codec, Command, ServerMessage};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::bounded;
use crate::party::{Party, long_raid, target};
use crate::process::Site;
use crate::proxy::Proxy;
use crate::proxy::Way::{ToClient, ToServer};
use crate::wire::Wire;

/// Over how long clients are let go, and what a noisy machine may add.
const SPREAD: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_secs(2);

async fn everybody_is_let_go(site: Site) {
    let mut server = site.start().await;
    let party = Party::gather(server.target(), 1, &long_raid(1)).await;
    let token = party.witness().await.access_token;
    let mut wires = Vec::new();
    for number in 0..12 {
        let mut wire = Wire::open(server.target(), Codec::ALL[number % 2], &token).await;
        wire.watch(party.raid, None).await;
        wires.push(wire);
    }
    let began = Instant::now();
    server.signal(Signal::TERM);
    let leaving = wires.into_iter().map(|mut wire| {
        tokio::spawn(async move {
            let closed = wire.end().await;
            let bye = wire
                .heard
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
    for leaving in leaving.collect::<Vec<_>>() {
        let (code, bye, after) = leaving.await.expect("a client");
        assert_eq!(code, Some(4200));
        assert!(after < SPREAD + MARGIN, "let go after {after:?}");
        waits.push(bye.expect("a bye before the close"));
    }
    assert!(waits.iter().all(|wait| *wait < 2_000), "{waits:?}");
    assert!(
        waits.iter().any(|wait| *wait != waits[0]),
        "spread out: {waits:?}"
    );
    assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
    assert!(
        began.elapsed() < SPREAD + MARGIN + Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_term_lets_every_client_go_with_bye_and_4200_and_the_process_ends_with_0_on_sqlite() {
    bounded(async { everybody_is_let_go(Site::sqlite().await).await }).await;
}

#[tokio::test]
async fn a_term_lets_every_client_go_with_bye_and_4200_and_the_process_ends_with_0_on_postgres() {
    bounded(async { everybody_is_let_go(Site::postgres().await).await }).await;
}

async fn a_deploy_in_the_middle(site: Site) {
    let mut server = site.start().await;
    let door = Proxy::to(server.target().address()).await;
    let party = Party::at_play(&target(door.address()), 4, &long_raid(4)).await;
    let (raid, rest) = (
        party.raid,
        party.players[0]
            .rest()
            .with_patience(Duration::from_secs(30)),
    );
    let leader = party.players[0].who().id;
    let game = party.play();
    for _ in 0..2 {
        let from = rest.raid(raid).await.expect("the raid").seq.0;
        while rest.raid(raid).await.expect("the raid").seq.0 < from + 20 {
            sleep(Duration::from_millis(20)).await;
        }
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
        server = site.start().await;
        door.lead_to(server.target().address());
    }
    let from = rest.raid(raid).await.expect("the raid").seq.0;
    while rest.raid(raid).await.expect("the raid").seq.0 < from + 20 {
        sleep(Duration::from_millis(20)).await;
    }
    let (verdict, state) = game.stop().await.settle().await;
    verdict.expect_innocent();
    assert_eq!(state.leader, Some(leader), "no leader changes");
}

#[tokio::test]
async fn commands_in_flight_during_two_deploys_are_acknowledged_once_on_sqlite() {
    bounded(async { a_deploy_in_the_middle(Site::sqlite().await).await }).await;
}

#[tokio::test]
async fn commands_in_flight_during_two_deploys_are_acknowledged_once_on_postgres() {
    bounded(async { a_deploy_in_the_middle(Site::postgres().await).await }).await;
}

#[tokio::test]
async fn a_term_that_comes_right_after_the_first_line_is_heard() {
    bounded(async {
        let site = Site::sqlite().await;
        for _ in 0..20 {
            let mut server = site.start().await;
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    bounded(async {
        let site = Site::sqlite().await;
        // Without the second signal this would take far longer.
        let mut server = site.start_with(&[("SHUTDOWN__SPREAD_MS", "25000")]).await;
        let party = Party::gather(server.target(), 1, &long_raid(1)).await;
        let token = party.witness().await.access_token;
        let mut wires = Vec::new();
        for _ in 0..8 {
            wires.push(Wire::open(server.target(), Codec::Json, &token).await);
        }
        server.signal(Signal::TERM);
        while !site.logged().contains("told to stop") {
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
async fn a_server_whose_database_stalls_still_ends_in_time() {
    bounded(async {
        let site = Site::proxied().await;
        let mut server = site.start_with(&[("SHUTDOWN__TIMEOUT_MS", "4000")]).await;
        let party = Party::gather(server.target(), 1, &long_raid(1)).await;
        let token = party.witness().await.access_token;
        let mut wire = Wire::open(server.target(), Codec::Json, &token).await;
        wire.watch(party.raid, None).await;
        site.proxy().hold(&[ToServer, ToClient]);
        wire.ask(party.raid, Some("lost"), Command::Say { text: "?".into() })
            .await;
        server.signal(Signal::TERM);
        assert_eq!(wire.end().await.code, Some(4200));
        assert_eq!(server.exit_code(Duration::from_secs(8)).await, Some(0));
    })
    .await;
}
