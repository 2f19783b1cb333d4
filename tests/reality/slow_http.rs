//! HTTP clients that are slow on purpose, or send far too much.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::target::Target;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::process::TestDatabase;
use crate::raw_socket::RawSocket;
use crate::with_timeout;

const ATTACKERS: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);
const HEAD: &str = "GET /api/v1/me HTTP/1.1\r\nHost: x\r\n";
const POST: &str =
    "POST /api/v1/auth/guest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

/// Begins a request and continues it a few bytes at a time. Returns how long the server tolerated
/// it, and the response's status.
async fn send_slowly(
    target: Target,
    beginning: String,
    more: &'static str,
) -> (Duration, Option<u16>) {
    let mut raw = RawSocket::connect(&target).await;
    let begun = Instant::now();
    raw.send_bytes(beginning.as_bytes()).await;
    let answer = raw.send_slowly(more.as_bytes(), PAUSE).await;
    (begun.elapsed(), answer.map(|head| head.status))
}

#[tokio::test]
async fn slow_heads_and_bodies_time_out_while_others_are_served() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let settings = [
            ("LIMITS__HEADER_TIMEOUT_MS", "2000"),
            ("LIMITS__BODY_TIMEOUT_MS", "2000"),
        ];
        let server = database.start_with(&settings).await;
        let mut attack = JoinSet::new();
        for number in 0..ATTACKERS * 2 {
            let target = *server.target();
            let slow_body = number % 2 == 0;
            let beginning = if slow_body {
                format!("{POST}Content-Length: 1000\r\n\r\n{{")
            } else {
                HEAD.to_owned()
            };
            let more = if slow_body { " " } else { "x: y\r\n" };
            attack.spawn(async move { (slow_body, send_slowly(target, beginning, more).await) });
        }
        let rest = RestClient::new(server.target()).expect("a REST client");
        for number in 0..20 {
            let begun = Instant::now();
            rest.sign_in_guest(&format!("polite {number}"))
                .await
                .expect("served");
            assert!(
                begun.elapsed() < Duration::from_millis(1500),
                "{:?}",
                begun.elapsed()
            );
        }
        let mut answered = 0;
        for (slow_body, (tolerated, status)) in attack.join_all().await {
            assert!(tolerated < Duration::from_secs(8), "{tolerated:?}");
            // The response may not reach a client that goes on sending: a reset overtakes it.
            assert!(
                status.is_none() || (slow_body && status == Some(408)),
                "{status:?}"
            );
            answered += usize::from(status.is_some());
        }
        assert!(
            answered > ATTACKERS / 2,
            "{answered} of {ATTACKERS} received their response"
        );
    })
    .await;
}

#[tokio::test]
async fn bodies_of_ten_megabytes_are_refused_and_not_buffered() {
    const MEGABYTE: usize = 1 << 20;
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let before = server.usage().rss_bytes;
        let mut sending = JoinSet::new();
        for number in 0..40 {
            let target = *server.target();
            let chunked = number % 2 == 0;
            sending.spawn(async move {
                let mut raw = RawSocket::connect(&target).await;
                let length = if chunked {
                    "Transfer-Encoding: chunked\r\n\r\n100000\r\n".to_owned()
                } else {
                    format!("Content-Length: {}\r\n\r\n", 10 * MEGABYTE)
                };
                raw.send_bytes(format!("{POST}{length}").as_bytes()).await;
                // Larger than a body may be, but small enough to be read before the response: with
                // unread bytes left, the system would drop the response.
                raw.send_bytes(&vec![b' '; 66_000]).await;
                let status = raw.read_upgrade_response().await.status;
                for _ in 0..10 {
                    raw.send_bytes(&vec![b' '; MEGABYTE]).await;
                }
                status
            });
        }
        assert_eq!(sending.join_all().await, [413; 40]);
        let grown = server.usage().rss_bytes.saturating_sub(before);
        assert!(
            grown < 32 * MEGABYTE as u64,
            "{} KiB for forty of them",
            grown / 1024
        );
        RestClient::new(server.target())
            .expect("a REST client")
            .sign_in_guest("polite")
            .await
            .expect("served");
    })
    .await;
}

#[tokio::test]
async fn heads_beyond_sixteen_kilobytes_or_a_hundred_headers_are_answered_431() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        for headers in [
            format!("x: {}\r\n", "y".repeat(20_000)),
            "x: y\r\n".repeat(150),
        ] {
            let mut raw = RawSocket::connect(server.target()).await;
            raw.send_bytes(format!("{HEAD}{headers}\r\n").as_bytes())
                .await;
            assert_eq!(raw.read_upgrade_response().await.status, 431);
        }
    })
    .await;
}
