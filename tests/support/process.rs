//! Real server processes on the database of one test. Each is signalled by its own process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use raidhall::auth::{Auth, AuthSecret, Scope};
use raidhall::config::Config;
use raidhall::store::Store;
use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::sqlite::SqliteStore;
use raidhall_loadtest::process::ProcessUsage;
use raidhall_loadtest::target::Target;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use super::postgres::PostgresDatabase;
use super::postgres_server::PostgresServer;
use super::proxy::Proxy;

/// Secret that signs tokens unless a test sets another.
pub const SECRET: &str = "a secret for tests, of thirty-two bytes and more";
/// Limit for a server's start, until it prints its address.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Default settings of every test server: any free port, no metrics listener, and limits so high
/// that only a test that lowers them reaches them.
const DEFAULT_SETTINGS: [(&str, &str); 18] = [
    ("SERVER__LISTEN", "127.0.0.1:0"),
    ("TELEMETRY__METRICS_LISTEN", ""),
    ("AUTH__SECRET", SECRET),
    ("LIMITS__GUEST_SIGNINS_PER_MINUTE", "1000000"),
    ("LIMITS__INVITE_GUESSES_PER_MINUTE", "1000000"),
    ("LIMITS__COMMANDS_PER_SECOND", "10000"),
    ("LIMITS__SIGNAL_BYTES_PER_SECOND", "67108864"),
    ("LIMITS__DISK_FREE_BYTES", "0"),
    ("LIMITS__LED_RAIDS", "1000000"),
    ("LIMITS__RAID_EVENTS_PER_DAY", "1000000000"),
    ("LIMITS__MEMBER_TASKS", "1000000"),
    ("LIMITS__BYTES_PER_SECOND", "67108864"),
    ("LIMITS__CONNECTIONS_PER_ADDRESS", "100000"),
    ("LIMITS__REST_READS_PER_MINUTE", "1000000"),
    ("LIMITS__REST_WRITES_PER_MINUTE", "1000000"),
    ("LIMITS__UNAUTHENTICATED", "100000"),
    ("LIMITS__UNAUTHENTICATED_PER_ADDRESS", "100000"),
    ("LIMITS__HANDSHAKES_PER_SECOND", "100000"),
];

/// A database and the directory in which its servers run. If the test panics, dropping it prints
/// the last 400 lines of the servers' logs.
pub struct TestDatabase {
    directory: TempDir,
    database: Option<PostgresDatabase>,
    external_url: Option<String>,
    proxy: Option<Proxy>,
    logs: Mutex<Vec<PathBuf>>,
}

impl TestDatabase {
    /// Returns a database in a SQLite file that does not exist yet.
    pub async fn sqlite() -> TestDatabase {
        let directory = tempfile::tempdir().expect("a directory");
        TestDatabase {
            directory,
            database: None,
            external_url: None,
            proxy: None,
            logs: Mutex::default(),
        }
    }

    /// Creates a Postgres database with the schema and no rows.
    pub async fn postgres() -> TestDatabase {
        let mut database = Self::sqlite().await;
        database.database = Some(PostgresDatabase::create().await);
        database
    }

    /// Creates a Postgres database without any table.
    pub async fn empty_postgres() -> TestDatabase {
        let mut database = Self::sqlite().await;
        database.database = Some(PostgresDatabase::create_empty().await);
        database
    }

    /// Creates a Postgres database with the schema, which the servers reach through a proxy.
    pub async fn proxied() -> TestDatabase {
        let mut database = Self::postgres().await;
        database.proxy = Some(database.add_proxy().await.0);
        database
    }

    /// Starts another proxy in front of Postgres. Returns it with the database's URL through it.
    pub async fn add_proxy(&self) -> (Proxy, String) {
        let url = reqwest::Url::parse(&self.direct_url()).expect("a database URL");
        let host = url.host_str().expect("a host");
        let port = url.port().expect("a port");
        let address = tokio::net::lookup_host((host, port))
            .await
            .expect("an address")
            .next();
        let proxy = Proxy::to(address.expect("an address")).await;
        let url = url_through(&proxy, url);
        (proxy, url)
    }

    /// Returns the `postgres` database of a test's own Postgres server.
    pub async fn on_server(server: &PostgresServer) -> TestDatabase {
        let mut database = Self::sqlite().await;
        database.external_url = Some(format!("postgres://raidhall@{}/postgres", server.address()));
        database
    }

    /// Returns the proxy of [`Self::proxied`]. Panics if there is none.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a database with a proxy")
    }

    /// Returns the URL that the servers use: through the proxy, if there is one.
    pub fn url(&self) -> String {
        let direct = self.direct_url();
        let Some(proxy) = &self.proxy else {
            return direct;
        };
        url_through(proxy, reqwest::Url::parse(&direct).expect("a database URL"))
    }

    fn direct_url(&self) -> String {
        match (&self.database, &self.external_url) {
            (Some(database), _) => database.url(),
            (None, Some(url)) => url.clone(),
            (None, None) => format!(
                "sqlite://{}",
                self.directory.path().join("raidhall.db").display()
            ),
        }
    }

    /// Opens the database directly, not through the proxy, as the only instance.
    pub async fn store(&self) -> Arc<dyn Store> {
        let url = self.direct_url();
        if url.starts_with("sqlite") {
            return Arc::new(SqliteStore::open(&url, 2).await.expect("open the database"));
        }
        Arc::new(self.postgres_store(url, true).await)
    }

    /// Opens the Postgres database directly, as an instance that shares it with others.
    pub async fn shared_store(&self) -> Arc<dyn Store> {
        Arc::new(self.postgres_store(self.direct_url(), false).await)
    }

    async fn postgres_store(&self, url: String, is_exclusive: bool) -> PostgresStore {
        let options = PostgresOptions {
            url,
            connections_max: 4,
            statement_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            is_exclusive,
        };
        PostgresStore::connect(options).await.expect("connect")
    }

    /// Creates the schema and opens the database, before any server has used it.
    pub async fn migrated_store(&self) -> Arc<dyn Store> {
        let url = self.direct_url();
        if url.starts_with("sqlite") {
            let store = SqliteStore::open(&url, 2).await.expect("open the database");
            store
                .migrate(Duration::from_secs(10))
                .await
                .expect("migrate");
            return Arc::new(store);
        }
        let store = self.postgres_store(url, true).await;
        store.migrate(Duration::ZERO).await.expect("migrate");
        Arc::new(store)
    }

    /// Returns a command that runs the `raidhall` program on this database.
    pub fn command(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_raidhall"), arguments, settings)
    }

    fn command_of(&self, program: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .args(arguments)
            .current_dir(self.directory.path())
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.env("RAIDHALL__DATABASE__URL", self.url());
        for (key, value) in DEFAULT_SETTINGS.iter().chain(settings) {
            command.env(format!("RAIDHALL__{key}"), value);
        }
        command
    }

    /// Starts a server with the default settings and waits until it serves.
    pub async fn start(&self) -> TestServer {
        self.start_with(&[]).await
    }

    /// Starts a server with additional settings, such as `("LIMITS__WATCHES", "2")`.
    pub async fn start_with(&self, settings: &[(&str, &str)]) -> TestServer {
        self.start_with_environment(settings, &[]).await
    }

    /// Starts a server with additional settings and environment variables.
    pub async fn start_with_environment(
        &self,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> TestServer {
        let mut command = self.command(&["serve"], settings);
        command.envs(environment.iter().copied());
        self.launch(command).await
    }

    /// Starts a server that can have at most `count` files open, from its start.
    pub async fn start_with_open_files_max(
        &self,
        count: u64,
        settings: &[(&str, &str)],
    ) -> TestServer {
        self.start_in_shell(&format!("ulimit -n {count}"), settings)
            .await
    }

    /// Starts a server that can write at most `kib` KiB to a file, as on a full disk.
    pub async fn start_with_file_size_max(
        &self,
        kib: u64,
        settings: &[(&str, &str)],
    ) -> TestServer {
        // In units of 512 bytes. By default the signal would kill the process.
        self.start_in_shell(&format!("trap '' XFSZ && ulimit -f {}", kib * 2), settings)
            .await
    }

    /// Starts a server from a shell that has run `preparation`.
    async fn start_in_shell(&self, preparation: &str, settings: &[(&str, &str)]) -> TestServer {
        let script = format!("{preparation} && exec \"$0\" serve");
        let arguments = ["-c", &script, env!("CARGO_BIN_EXE_raidhall")];
        self.launch(self.command_of("/bin/sh", &arguments, settings))
            .await
    }

    /// Starts a server whose standard error is `log`.
    pub async fn start_with_log(&self, log: Stdio, settings: &[(&str, &str)]) -> TestServer {
        self.launch_with_log(self.command(&["serve"], settings), log)
            .await
    }

    async fn launch(&self, command: Command) -> TestServer {
        let log = self
            .path()
            .join(format!("server-{}.log", self.logs.lock().len()));
        let file = File::create(&log).expect("create the log");
        self.logs.lock().push(log.clone());
        TestServer {
            log,
            ..self.launch_with_log(command, file.into()).await
        }
    }

    async fn launch_with_log(&self, mut command: Command, log: Stdio) -> TestServer {
        command.stderr(log);
        let mut child = command.spawn().expect("start a server");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = timeout(START_TIMEOUT, stdout.next_line())
            .await
            .expect("the server did not start in time");
        let Some(line) = line.expect("its output") else {
            let status = child.wait().await;
            panic!(
                "a server ended before it served: {status:?}\n{}",
                self.logs()
            );
        };
        let url = line.split(' ').find(|word| word.starts_with("http://"));
        let target =
            Target::parse(url.unwrap_or_else(|| panic!("no URL in {line:?}"))).expect("a target");
        TestServer {
            child,
            stdout,
            target,
            log: PathBuf::new(),
        }
    }

    /// Returns the directory in which the servers run.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a token that servers with [`SECRET`] accept. Its subject is the player, or `tests`.
    pub fn token(&self, scope: Scope, player: Option<&PlayerRef>, ttl: Duration) -> String {
        let secret = AuthSecret::new(SECRET).expect("a secret");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis();
        let now = UnixMillis(i64::try_from(now).expect("milliseconds"));
        let subject = player.map_or_else(|| "tests".to_owned(), |player| player.id.to_string());
        let name = player.map(|player| player.name.as_str());
        Auth::new(&secret, Config::default().auth).mint_scoped(scope, &subject, name, ttl, now)
    }

    /// Returns whether the directory is empty: no server has written a file.
    pub fn is_empty(&self) -> bool {
        std::fs::read_dir(self.directory.path())
            .expect("a directory")
            .next()
            .is_none()
    }

    /// Returns the logs of all servers, one after the other.
    pub fn logs(&self) -> String {
        let logs = self.logs.lock();
        logs.iter()
            .map(|log| std::fs::read_to_string(log).unwrap_or_default())
            .collect()
    }
}

fn url_through(proxy: &Proxy, mut url: reqwest::Url) -> String {
    url.set_ip_host(proxy.address().ip()).expect("a host");
    url.set_port(Some(proxy.address().port())).expect("a port");
    url.into()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logged = self.logs();
            let lines: Vec<_> = logged.lines().collect();
            println!(
                "--- the end of the servers' logs\n{}",
                lines[lines.len().saturating_sub(400)..].join("\n")
            );
        }
    }
}

/// A server process. Dropping it kills the process.
pub struct TestServer {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    target: Target,
    log: PathBuf,
}

impl TestServer {
    /// Returns the address at which the server serves.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("signal a server");
    }

    /// Kills the server with SIGKILL and waits until the process is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("kill a server");
    }

    /// Waits until the server ends and returns its exit code; `None` if a signal ended it. Panics
    /// if the server still runs after `patience`.
    pub async fn exit_code(&mut self, patience: Duration) -> Option<i32> {
        let status = timeout(patience, self.child.wait()).await;
        status
            .expect("the server did not end in time")
            .expect("its status")
            .code()
    }

    /// Returns whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// Waits until standard output is closed and returns the lines that have not been read yet.
    pub async fn remaining_output(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(Some(line)) = self.stdout.next_line().await {
            lines.push(line);
        }
        lines
    }

    /// Waits until the log has a line with `text`, and returns the first one.
    pub async fn logged_line(&self, text: &str) -> String {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let logs = self.logs();
            if let Some(line) = logs.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(
                Instant::now() < deadline,
                "no line with {text:?} in\n{logs}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the server's log so far.
    pub fn logs(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    /// Returns the CPU time that the process has used so far and the memory that it holds now.
    pub fn usage(&self) -> ProcessUsage {
        ProcessUsage::from_pid(self.pid().as_raw_nonzero().get().unsigned_abs())
            .expect("a server that runs")
    }

    /// Limits the number of files that the process can have open.
    pub fn set_open_files_max(&self, count: u64) {
        let limit = Rlimit {
            current: Some(count),
            maximum: Some(count),
        };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("limit a server");
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().expect("a server that runs");
        Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id")
    }
}
