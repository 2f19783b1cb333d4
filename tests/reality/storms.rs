//! Many at the door at once: silent ones, a storm of reconnects, more than there are files for.

use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_protocol::Codec;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bounded;
use crate::party::{Party, long_raid};
use crate::process::{Server, Site};
use crate::raw::{Head, Raw, UPGRADE};
use crate::wire::Wire;

/// A member who watches, and the token.
async fn watcher(server: &Server) -> (Party, Wire, String) {
    let party = Party::gather(server.target(), 1, &long_raid(1)).await;
    let token = party.witness().await.access_token;
    let mut wire = Wire::open(server.target(), Codec::Json, &token).await;
    wire.watch(party.raid, None).await;
    (party, wire, token)
}

fn told_when_to_come_back(head: &Head) -> bool {
    let seconds = head
        .header("retry-after")
        .and_then(|seconds| seconds.parse::<u64>().ok());
    head.status == 503 && seconds.is_some_and(|seconds| (1..=10).contains(&seconds))
}

#[tokio::test]
async fn a_thousand_silent_sockets_keep_nobody_out_who_can_say_who_it_is() {
    const SILENT: usize = 1000;
    bounded(async {
        let site = Site::sqlite().await;
        let count = SILENT.to_string();
        let settings = [
            ("LIMITS__UNAUTHENTICATED_PER_ADDRESS", &*count),
            ("LIMITS__HELLO_TIMEOUT_MS", "4000"),
        ];
        let server = site.start_with(&settings).await;
        let (party, mut wire, token) = watcher(&server).await;
        let mut silent = Vec::new();
        for _ in 0..SILENT {
            let (head, raw) = Raw::upgrade(server.target(), &UPGRADE).await;
            if head.status == 101 {
                silent.push(raw);
            } else {
                assert!(told_when_to_come_back(&head), "{}", head.status);
            }
        }
        let bearer = format!("Bearer {token}");
        let named = [&UPGRADE[..], &[("Authorization", &*bearer)]].concat();
        assert_eq!(Raw::upgrade(server.target(), &named).await.0.status, 101);
        wire.say(party.raid, "still served").await;
        for raw in &mut silent {
            assert_eq!(raw.close_code().await, 4001);
        }
        drop(silent);
        Wire::open(server.target(), Codec::Json, &token).await;
    })
    .await;
}

#[tokio::test]
async fn strangers_beyond_their_places_are_told_when_to_come_back() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site
            .start_with(&[("LIMITS__UNAUTHENTICATED_PER_ADDRESS", "3")])
            .await;
        let (_, _wire, token) = watcher(&server).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            let (head, raw) = Raw::upgrade(server.target(), &UPGRADE).await;
            assert_eq!(head.status, 101);
            silent.push(raw);
        }
        assert!(told_when_to_come_back(
            &Raw::upgrade(server.target(), &UPGRADE).await.0
        ));
        let bearer = format!("Bearer {token}");
        let named = [&UPGRADE[..], &[("Authorization", &*bearer)]].concat();
        assert_eq!(
            Raw::upgrade(server.target(), &named).await.0.status,
            101,
            "who is known has its own places"
        );
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_of_all_are_told_when_to_come_back() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start_with(&[("LIMITS__CONNECTIONS", "2")]).await;
        let (_, wire, token) = watcher(&server).await;
        let second = Wire::open(server.target(), Codec::Json, &token).await;
        assert!(told_when_to_come_back(
            &Raw::upgrade(server.target(), &UPGRADE).await.0
        ));
        drop((wire, second));
        loop {
            let (head, _raw) = Raw::upgrade(server.target(), &UPGRADE).await;
            if head.status == 101 {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_storm_of_upgrades_some_wait_and_the_rest_are_told_when_to_come_back() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site
            .start_with(&[("LIMITS__HANDSHAKES_PER_SECOND", "50")])
            .await;
        let (party, mut wire, _) = watcher(&server).await;
        let mut storm = JoinSet::new();
        for _ in 0..200 {
            let target = *server.target();
            storm.spawn(async move { Raw::upgrade(&target, &UPGRADE).await });
        }
        wire.say(party.raid, "calm within").await;
        let came: Vec<_> = storm.join_all().await;
        let open = came.iter().filter(|(head, _)| head.status == 101).count();
        let sent_away = came
            .iter()
            .filter(|(head, _)| told_when_to_come_back(head))
            .count();
        // Ten of one address at once, ten a second after that, for as long as the storm took to arrive.
        assert!(
            (15..=120).contains(&open) && open + sent_away == 200,
            "{open} and {sent_away}"
        );
    })
    .await;
}

/// 256 files, of which some are kept for the database: however many knock, members play and commit.
#[tokio::test]
async fn with_256_files_and_a_thousand_who_knock_those_within_play_on_and_others_come_in_later() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start_with_files(256, &[]).await;
        let (party, mut wire, token) = watcher(&server).await;
        let mut knocking = Vec::new();
        for _ in 0..1_000 {
            knocking.push(
                TcpStream::connect(server.target().address())
                    .await
                    .expect("the backlog takes it"),
            );
        }
        for number in 0..50 {
            wire.say(party.raid, &format!("served {number}")).await;
        }
        drop(knocking);
        let rest = Rest::new(server.target())
            .expect("doors")
            .with_patience(Duration::from_secs(20));
        rest.guest("late").await.expect("served again");
        Wire::open(server.target(), Codec::Json, &token).await;
        let log = server.logged();
        assert!(
            log.matches("every file that connections may use").count() <= 5,
            "{log}"
        );
        assert!(log.contains("every file that connections may use"), "{log}");
        assert!(
            !log.contains("accepting connections failed"),
            "the reserve was used up:\n{log}"
        );
    })
    .await;
}
