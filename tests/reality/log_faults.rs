//! Standard error that cannot be written, or that no process reads: the server serves and stops as ever.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use raidhall_protocol::Codec;
use rustix::process::Signal;

use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// At `trace` every statement is a log line.
const LOG_EVERYTHING: [(&str, &str); 1] = [("TELEMETRY__LOG", "trace")];

async fn assert_serves_and_stops(mut server: TestServer) {
    let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let token = group.add_member().await.access_token;
    let mut socket = TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
    socket.watch(group.raid, None).await;
    for number in 0..300 {
        socket.say(group.raid, number.to_string()).await;
    }
    server.signal(Signal::TERM);
    assert_eq!(socket.wait_for_close().await.code, Some(4200), "a drain");
    assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
}

#[tokio::test]
async fn a_full_disk_under_the_log_ends_nothing() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let full = File::options().write(true).open("/dev/full").expect("open");
        let server = database.start_with_log(full.into(), &LOG_EVERYTHING).await;
        assert_serves_and_stops(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_log_whose_reader_is_gone_ends_nothing() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let server = database
            .start_with_log(Stdio::from(writer), &LOG_EVERYTHING)
            .await;
        assert_serves_and_stops(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_not_read_blocks_nothing() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        let server = database
            .start_with_log(Stdio::from(writer), &LOG_EVERYTHING)
            .await;
        assert_serves_and_stops(server).await;
    })
    .await;
}
