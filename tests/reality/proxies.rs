//! The examples for proxies in `config`, each with the real program in front of a server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use raidhall_loadtest::target::Target;
use reqwest::Client;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::process::TestDatabase;
use crate::raid_group::target;
use crate::raw_socket::{RawSocket, UPGRADE_HEADERS};
use crate::with_timeout;

/// A proxy that runs until it is dropped.
struct ProxyProcess {
    address: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}

fn read_example(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("an example")
}

async fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    free.and_then(|free| free.local_addr())
        .expect("a free port")
}

impl ProxyProcess {
    /// Starts the program with the configuration that `prepare` makes for it, and waits until it
    /// listens. `prepare` gets the proxy's address and a directory for files.
    async fn start(
        program: &str,
        prepare: impl FnOnce(&mut Command, SocketAddr, &Path),
    ) -> ProxyProcess {
        let directory = tempfile::tempdir().expect("a directory");
        let address = free_address().await;
        let mut command = Command::new(program);
        command
            .env(
                "PATH",
                "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin",
            )
            .env("HOME", directory.path())
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        prepare(&mut command, address, directory.path());
        let started = command.spawn();
        let mut process =
            started.unwrap_or_else(|error| panic!("{program}: {error}; run `make test-release`"));
        while TcpStream::connect(address).await.is_err() {
            let ended = process.try_wait().expect("its status");
            assert!(ended.is_none(), "{program} ended: {ended:?}");
            sleep(Duration::from_millis(20)).await;
        }
        ProxyProcess {
            address,
            _process: process,
            _directory: directory,
        }
    }

    async fn haproxy(server: &Target) -> ProxyProcess {
        let server = server.address().to_string();
        Self::start("haproxy", |command, address, _| {
            command.arg("-db").arg("-f").arg(example("haproxy.cfg"));
            command.env("RAIDHALL_LB_LISTEN", address.to_string());
            for node in 1..=3 {
                command.env(format!("RAIDHALL_NODE_{node}"), &server);
            }
        })
        .await
    }

    async fn nginx(server: &Target) -> ProxyProcess {
        let site =
            read_example("nginx.conf").replace("127.0.0.1:8080", &server.address().to_string());
        Self::start("nginx", |command, address, directory| {
            let site = site.replace("listen 80;", &format!("listen {address};"));
            let directory = directory.display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {directory}/{kind};\n"))
                .concat();
            // One process: a killed master would leave its worker behind.
            let main = format!(
                "daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{site}\n}}"
            );
            let file = format!("{directory}/nginx.conf");
            std::fs::write(&file, main).expect("write the configuration");
            command.args(["-p", &directory.to_string(), "-c", &file]);
        })
        .await
    }

    async fn caddy(server: &Target) -> ProxyProcess {
        let site =
            read_example("Caddyfile").replace("127.0.0.1:8080", &server.address().to_string());
        Self::start("caddy", |command, address, directory| {
            let site = site.replace(":80 {", &format!("http://{address} {{"));
            let file = directory.join("Caddyfile");
            let main = format!("{{\n\tadmin off\n}}\n{site}");
            std::fs::write(&file, main).expect("write the configuration");
            command.args(["run", "--adapter", "caddyfile", "--config"]);
            command.arg(file).stderr(Stdio::null());
        })
        .await
    }
}

/// Guests sign in through the proxy from two addresses of this machine, each with forged headers.
/// The server counts them by their real addresses.
async fn assert_addresses_are_real(proxy: SocketAddr) {
    let url = format!("http://{proxy}/api/v1/auth/guest");
    for last in [2, 3] {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let client = Client::builder().no_proxy().local_address(from).build();
        let client = client.expect("a client");
        for (attempt, expected) in [(1, 201), (2, 201), (3, 429)] {
            let forged = format!("203.0.113.{attempt}");
            let response = client
                .post(&url)
                .header("x-forwarded-for", &forged)
                .header("forwarded", format!("for={forged}"))
                .json(&json!({"name": "Ada"}))
                .send()
                .await
                .expect("a response");
            assert_eq!(response.status(), expected, "attempt {attempt} from {from}");
        }
    }
}

async fn assert_pages_may_open_websockets(proxy: SocketAddr) {
    for (origin, expected) in [
        (format!("http://{proxy}"), 101),
        ("http://evil.example".to_owned(), 403),
    ] {
        let headers = [&UPGRADE_HEADERS[..], &[("Origin", origin.as_str())]].concat();
        let (head, _) = RawSocket::upgrade(&target(proxy), &headers).await;
        assert_eq!(head.status, expected, "{origin}");
    }
}

#[tokio::test]
async fn the_examples_for_proxies_pass_on_what_the_server_needs() {
    with_timeout(async {
        for program in ["haproxy", "nginx", "caddy"] {
            let database = TestDatabase::sqlite().await;
            let server = database
                .start_with(&[
                    ("SERVER__TRUSTED_PROXIES", "127.0.0.1/32"),
                    ("LIMITS__GUEST_SIGNINS_PER_MINUTE", "2"),
                ])
                .await;
            let proxy = match program {
                "haproxy" => ProxyProcess::haproxy(server.target()).await,
                "nginx" => ProxyProcess::nginx(server.target()).await,
                _ => ProxyProcess::caddy(server.target()).await,
            };
            println!("{program} at {}", proxy.address);
            assert_pages_may_open_websockets(proxy.address).await;
            assert_addresses_are_real(proxy.address).await;
        }
    })
    .await;
}
