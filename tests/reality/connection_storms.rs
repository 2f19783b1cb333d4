//! Many connections at once: silent ones, a storm of reconnects, more than the server has files
//! for.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::Codec;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::raw_socket::{RawSocket, UPGRADE_HEADERS, UpgradeResponse};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// Returns a group, a watching connection of one of its members, and that member's token.
async fn create_watcher(server: &TestServer) -> (RaidGroup, TestSocket, String) {
    let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let token = group.add_member().await.access_token;
    let mut socket = TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
    socket.watch(group.raid, None).await;
    (group, socket, token)
}

fn is_unavailable_with_retry_after(head: &UpgradeResponse) -> bool {
    let seconds = head
        .header("retry-after")
        .and_then(|seconds| seconds.parse::<u64>().ok());
    head.status == 503 && seconds.is_some_and(|seconds| (1..=10).contains(&seconds))
}

#[tokio::test]
async fn a_thousand_silent_connections_keep_no_authenticated_client_out() {
    const SILENT: usize = 1000;
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let count = SILENT.to_string();
        let settings = [
            ("LIMITS__UNAUTHENTICATED_PER_ADDRESS", &*count),
            ("LIMITS__HELLO_TIMEOUT_MS", "4000"),
        ];
        let server = database.start_with(&settings).await;
        let (group, mut socket, token) = create_watcher(&server).await;
        let mut silent = Vec::new();
        for _ in 0..SILENT {
            let (head, raw) = RawSocket::upgrade(server.target(), &UPGRADE_HEADERS).await;
            if head.status == 101 {
                silent.push(raw);
            } else {
                assert!(is_unavailable_with_retry_after(&head), "{}", head.status);
            }
        }
        let bearer = format!("Bearer {token}");
        let named = [&UPGRADE_HEADERS[..], &[("Authorization", &*bearer)]].concat();
        assert_eq!(
            RawSocket::upgrade(server.target(), &named).await.0.status,
            101
        );
        socket.say(group.raid, "still served").await;
        for raw in &mut silent {
            assert_eq!(raw.close_code().await, 4001);
        }
        drop(silent);
        TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
    })
    .await;
}

#[tokio::test]
async fn unauthenticated_connections_over_the_limit_get_a_retry_time() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database
            .start_with(&[("LIMITS__UNAUTHENTICATED_PER_ADDRESS", "3")])
            .await;
        let (_, _wire, token) = create_watcher(&server).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            let (head, raw) = RawSocket::upgrade(server.target(), &UPGRADE_HEADERS).await;
            assert_eq!(head.status, 101);
            silent.push(raw);
        }
        assert!(is_unavailable_with_retry_after(
            &RawSocket::upgrade(server.target(), &UPGRADE_HEADERS)
                .await
                .0
        ));
        let bearer = format!("Bearer {token}");
        let named = [&UPGRADE_HEADERS[..], &[("Authorization", &*bearer)]].concat();
        assert_eq!(
            RawSocket::upgrade(server.target(), &named).await.0.status,
            101,
            "an authenticated client has a limit of its own"
        );
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_total_limit_get_a_retry_time() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start_with(&[("LIMITS__CONNECTIONS", "2")]).await;
        let (_, socket, token) = create_watcher(&server).await;
        let second = TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        assert!(is_unavailable_with_retry_after(
            &RawSocket::upgrade(server.target(), &UPGRADE_HEADERS)
                .await
                .0
        ));
        drop((socket, second));
        loop {
            let (head, _raw) = RawSocket::upgrade(server.target(), &UPGRADE_HEADERS).await;
            if head.status == 101 {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn excess_upgrades_in_a_storm_wait_or_get_a_retry_time() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database
            .start_with(&[("LIMITS__HANDSHAKES_PER_SECOND", "50")])
            .await;
        let (group, mut socket, _) = create_watcher(&server).await;
        let mut storm = JoinSet::new();
        for _ in 0..200 {
            let target = *server.target();
            storm.spawn(async move { RawSocket::upgrade(&target, &UPGRADE_HEADERS).await });
        }
        socket.say(group.raid, "still served").await;
        let upgrades: Vec<_> = storm.join_all().await;
        let open = upgrades
            .iter()
            .filter(|(head, _)| head.status == 101)
            .count();
        let refused = upgrades
            .iter()
            .filter(|(head, _)| is_unavailable_with_retry_after(head))
            .count();
        // Ten of one address at once, then ten a second, for as long as the storm took to arrive.
        assert!(
            (15..=120).contains(&open) && open + refused == 200,
            "{open} and {refused}"
        );
    })
    .await;
}

/// With 256 files, some of which are reserved for the database, members play and commit however
/// many connections arrive.
#[tokio::test]
async fn members_play_on_while_a_thousand_connections_exhaust_the_files() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start_with_open_files_max(256, &[]).await;
        let (group, mut socket, token) = create_watcher(&server).await;
        let mut pending_connections = Vec::new();
        for _ in 0..1_000 {
            pending_connections.push(
                TcpStream::connect(server.target().address())
                    .await
                    .expect("the backlog takes it"),
            );
        }
        for number in 0..50 {
            socket.say(group.raid, &format!("served {number}")).await;
        }
        drop(pending_connections);
        let rest = RestClient::new(server.target())
            .expect("a REST client")
            .with_retry_timeout(Duration::from_secs(20));
        rest.sign_in_guest("late").await.expect("served again");
        TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        let log = server.logs();
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
