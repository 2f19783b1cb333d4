//! A Redis server for one test, which the test can kill, pause and restart; or three of them as a
//! Redis Cluster.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Environment variable with the path of `redis-server`.
const BINARY_VARIABLE: &str = "RAIDHALL_TEST_REDIS_SERVER";
/// Limit for the start of a server or of a cluster.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Number of hash slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// A Redis server with its own directory and port. Dropping it kills the server.
pub struct RedisProcess {
    directory: TempDir,
    address: SocketAddr,
    configuration: String,
    server: Child,
}

impl RedisProcess {
    /// Starts a server without TLS and without a password.
    pub async fn start() -> RedisProcess {
        Self::start_with("").await
    }

    /// Starts a server with additional lines in its configuration file.
    pub async fn start_with(lines: &str) -> RedisProcess {
        Self::start_in(tempfile::tempdir().expect("a directory"), |port| {
            format!("port {port}\n{lines}")
        })
        .await
    }

    /// Starts a server that accepts only TLS, with this certificate and key in PEM.
    pub async fn start_tls(certificate: &str, key: &str) -> RedisProcess {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, pem: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, pem).expect("write a file");
            path.display().to_string()
        };
        let certificate = write("certificate.pem", certificate);
        let key = write("key.pem", key);
        let lines = format!(
            "tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\ntls-auth-clients no"
        );
        Self::start_in(directory, |port| {
            format!("port 0\ntls-port {port}\n{lines}")
        })
        .await
    }

    async fn start_in(directory: TempDir, configuration: impl Fn(u16) -> String) -> RedisProcess {
        let address = free_address().await;
        let configuration = configuration(address.port());
        let server = serve(directory.path(), &configuration).await;
        RedisProcess {
            directory,
            address,
            configuration,
            server,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Opens a connection for the test itself.
    pub async fn connect(&self) -> MultiplexedConnection {
        connect(&self.url()).await.expect("connect to Redis")
    }

    /// Kills the server with SIGKILL.
    pub async fn kill(&mut self) {
        self.server.kill().await.expect("kill Redis");
    }

    /// Kills the server with SIGKILL and starts one on the same port. It has no data, but keeps its
    /// place in a cluster.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.server = serve(self.directory.path(), &self.configuration).await;
    }

    /// Suspends the server with SIGSTOP: connections stay open, but nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes the server with SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.server.id().expect("a server that runs");
        let pid = Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("signal Redis");
    }
}

/// Connects to the server at a URL.
pub async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    Client::open(url)?.get_multiplexed_async_connection().await
}

/// Returns a filter for a server's output (RESP3) that removes a channel's messages. A message that
/// is split between two chunks passes.
pub fn without_messages(channel: &str) -> impl Fn(&[u8]) -> Vec<u8> + use<> {
    let header = format!(
        ">3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n$",
        channel.len()
    )
    .into_bytes();
    move |output| {
        let mut passed = Vec::new();
        let mut rest = output;
        while !rest.is_empty() {
            match rest.strip_prefix(&*header).and_then(skip_bulk_string) {
                Some(after) => rest = after,
                None => {
                    passed.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        passed
    }
}

/// Returns a filter for a server's output (RESP3) that swaps each two successive messages of a
/// channel: it holds the first back until the second has passed. A message that is split between
/// two chunks passes unchanged.
pub fn with_messages_swapped(channel: &str) -> impl Fn(&[u8]) -> Vec<u8> + use<> {
    let header = format!(
        ">3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n$",
        channel.len()
    )
    .into_bytes();
    let held = parking_lot::Mutex::new(None::<Vec<u8>>);
    move |output| {
        let mut passed = Vec::new();
        let mut rest = output;
        while !rest.is_empty() {
            match rest.strip_prefix(&*header).and_then(skip_bulk_string) {
                Some(after) => {
                    let message = &rest[..rest.len() - after.len()];
                    let mut held = held.lock();
                    match held.take() {
                        Some(earlier) => passed.extend([message, &earlier].concat()),
                        None => *held = Some(message.to_vec()),
                    }
                    rest = after;
                }
                None => {
                    passed.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        passed
    }
}

/// Returns the bytes after a bulk string whose `$` has already been removed; `None` if the string
/// is incomplete.
fn skip_bulk_string(output: &[u8]) -> Option<&[u8]> {
    let end = output.windows(2).position(|pair| pair == b"\r\n")?;
    let length: usize = std::str::from_utf8(&output[..end]).ok()?.parse().ok()?;
    output.get(end + 2 + length + 2..)
}

/// A Redis Cluster of three masters, each with a third of the hash slots.
pub struct RedisCluster {
    pub nodes: Vec<RedisProcess>,
}

impl RedisCluster {
    /// Starts a cluster whose nodes have additional lines in their configuration files.
    pub async fn start_with(lines: &str) -> RedisCluster {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in 0..3 {
            let bus_port = free_address().await.port();
            let node_lines = format!(
                "cluster-enabled yes\ncluster-port {bus_port}\ncluster-node-timeout 1000\n{lines}"
            );
            nodes.push(RedisProcess::start_with(&node_lines).await);
            bus_ports.push(bus_port);
        }
        let mut first = nodes[0].connect().await;
        for (index, (node, bus_port)) in nodes.iter().zip(bus_ports).enumerate() {
            let index = u16::try_from(index).expect("few");
            let begin = SLOTS / 3 * index;
            let end = if index == 2 { SLOTS } else { begin + SLOTS / 3 } - 1;
            let mut add = redis::cmd("CLUSTER");
            add.arg("ADDSLOTSRANGE").arg(begin).arg(end);
            add.exec_async(&mut node.connect().await)
                .await
                .expect("assign slots to a node");
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET")
                .arg("127.0.0.1")
                .arg(node.address.port())
                .arg(bus_port);
            meet.exec_async(&mut first).await.expect("introduce a node");
        }
        let cluster = RedisCluster { nodes };
        cluster.settle().await;
        cluster
    }

    /// Waits until every node reports that the cluster is complete. Panics after 20 s.
    pub async fn settle(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        for node in &self.nodes {
            loop {
                let mut info = redis::cmd("CLUSTER");
                info.arg("INFO");
                let state: String = info
                    .query_async(&mut node.connect().await)
                    .await
                    .expect("read the cluster state of a node");
                if state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:3") {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "the cluster did not form in time: {state}"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    free.local_addr().expect("its address")
}

/// Starts a server and waits until it accepts connections.
async fn serve(directory: &Path, configuration: &str) -> Child {
    let binary = env::var_os(BINARY_VARIABLE)
        .unwrap_or_else(|| panic!("{BINARY_VARIABLE} is not set: run `make test`"));
    let log = directory.join("log");
    let file = directory.join("redis.conf");
    let lines = format!(
        "bind 127.0.0.1\ndir {}\nlogfile {}\nsave \"\"\nappendonly no\n{configuration}\n",
        directory.display(),
        log.display()
    );
    std::fs::write(&file, lines).expect("write the configuration");
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new(binary);
    command
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut server = command.spawn().expect("start redis-server");
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let logged = std::fs::read_to_string(&log).unwrap_or_default();
        if logged.contains("Ready to accept connections") {
            return server;
        }
        let exit_status = server.try_wait().expect("its status");
        assert!(
            exit_status.is_none() && Instant::now() < deadline,
            "redis-server did not start: {logged}"
        );
        sleep(Duration::from_millis(10)).await;
    }
}
