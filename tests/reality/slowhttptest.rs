//! slowhttptest, the well-known tool for slow attacks, against a server with few files: one address
//! cannot block others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use raidhall_loadtest::target::Target;
use reqwest::Client;
use tokio::process::Command;
use tokio::time::{Instant, interval};

use crate::process::TestDatabase;
use crate::with_timeout;

/// More connections than the server accepts.
const ATTACKERS: &str = "1000";
const OPEN_FILES_MAX: u64 = 640;
/// How long a response may take during an attack.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Returns the command for one of the tool's modes, running for a few seconds.
fn attack_command(target: &Target, mode: &str, path: &str) -> Command {
    let mut command = Command::new("slowhttptest");
    command.args([
        mode, "-c", ATTACKERS, "-r", "500", "-i", "1", "-l", "5", "-p", "2", "-v", "0",
    ]);
    command.args(["-u", &target.url(path)]).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_slow_http_attack_from_one_address_blocks_no_other_address() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start_with_open_files_max(OPEN_FILES_MAX, &[("LIMITS__CONNECTIONS_PER_ADDRESS", "100")]).await;
        // The polite client has another address of this machine: loopback is a whole network.
        let polite = Client::builder().no_proxy().local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
        let polite = polite.pool_max_idle_per_host(0).build().expect("a client");
        for (mode, path) in
            [("-H", "/"), ("-B", "/api/v1/auth/guest"), ("-X", "/docs/swagger-ui-bundle.js")]
        {
            let mut attack = attack_command(server.target(), mode, path).stdout(std::process::Stdio::null()).spawn();
            let attack = attack.as_mut().expect("slowhttptest, as scripts/setup installs it");
            let mut ticks = interval(Duration::from_millis(100));
            let mut served = 0;
            let ended = loop {
                tokio::select! { biased;
                    ended = attack.wait() => break ended.expect("it ends"),
                    _ = ticks.tick() => {
                        let begun = Instant::now();
                        let answer = polite.get(server.target().url("/readyz")).timeout(ANSWER_TIMEOUT).send().await;
                        let answer = answer.unwrap_or_else(|error| panic!("{mode}: {error:?} after {:?}", begun.elapsed()));
                        assert_eq!(answer.status(), 200);
                        served += 1;
                    }
                }
            };
            println!("{mode}: {served} answers during the attack, which ended with {ended}");
            assert!(served >= 5, "{mode} ended after {served} answers: {ended}");
        }
    })
    .await;
}
