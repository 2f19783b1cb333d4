//! A server process of the load tester's own: started on a free port, with its own database unless
//! another is given, killed and restarted at will.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use raidhall_protocol::PlayerId;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::RestClient;
use crate::process::is_stopped;
use crate::target::Target;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(45);
/// Longer than a run.
pub(crate) const SERVICE_TOKEN_TIME: Duration = Duration::from_secs(7_200);
const LOG_TAIL_LINES: usize = 20;

/// Limits raised for a run, because all its players share one address.
const LIMIT_SETTINGS: [(&str, &str); 15] = [
    ("GUEST_SIGNINS_PER_MINUTE", "1000000"),
    ("INVITE_GUESSES_PER_MINUTE", "1000000"),
    ("CONNECTIONS_PER_ADDRESS", "100000"),
    ("COMMANDS_PER_SECOND", "10000"),
    ("SIGNAL_BYTES_PER_SECOND", "67108864"),
    ("LED_RAIDS", "1000000"),
    ("RAID_EVENTS_PER_DAY", "1000000000"),
    ("MEMBER_TASKS", "1000000"),
    ("BYTES_PER_SECOND", "67108864"),
    ("CONNECTIONS", "100000"),
    ("UNAUTHENTICATED", "100000"),
    ("UNAUTHENTICATED_PER_ADDRESS", "100000"),
    ("HANDSHAKES_PER_SECOND", "100000"),
    ("REST_READS_PER_MINUTE", "1000000"),
    ("REST_WRITES_PER_MINUTE", "1000000"),
];

/// Returns the binary's configuration. A binary of another release refuses keys that it does not
/// know.
fn read_supported_keys(binary: &Path) -> String {
    let shown = std::process::Command::new(binary)
        .arg("check-config")
        .env_clear()
        .output();
    shown
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// The binary and the settings of a server process.
#[derive(Debug, Clone)]
pub struct ServerProcessOptions {
    pub binary: PathBuf,
    /// The database's URL; `None` creates a SQLite file that is deleted with the server.
    pub database: Option<String>,
    /// The URL of the bus to the other nodes of a cluster; `None` for a single node.
    pub bus: Option<String>,
    /// Further settings, such as `("SHUTDOWN__SPREAD_MS", "300")`; they override the load tester's
    /// own.
    pub settings: Vec<(String, String)>,
}

/// A server process and its directory, which outlives the process.
#[derive(Debug)]
pub struct ServerProcess {
    binary: PathBuf,
    database: String,
    bus: Option<String>,
    settings: Vec<(String, String)>,
    directory: TempDir,
    child: Option<Child>,
    target: Target,
    /// Tasks that read the server's output after the listen line, so that a full pipe cannot block
    /// it.
    output_readers: JoinSet<()>,
}

impl ServerProcess {
    /// Starts `binary serve` on a free port. Without `database` it uses a SQLite file that is
    /// deleted with this value.
    pub async fn start(binary: &Path, database: Option<&str>) -> anyhow::Result<ServerProcess> {
        let binary = binary.to_owned();
        let database = database.map(str::to_owned);
        Self::start_with(ServerProcessOptions {
            binary,
            database,
            bus: None,
            settings: Vec::new(),
        })
        .await
    }

    /// Starts the server on a free port that it keeps over restarts, and waits until it is ready.
    pub async fn start_with(options: ServerProcessOptions) -> anyhow::Result<ServerProcess> {
        let directory = tempfile::tempdir().context("make a directory for the server")?;
        let ServerProcessOptions {
            binary,
            database,
            bus,
            settings,
        } = options;
        let database = database.unwrap_or_else(|| {
            format!(
                "sqlite://{}",
                directory.path().join("raidhall.db").display()
            )
        });
        let target = find_free_target()?;
        let mut server = ServerProcess {
            binary,
            database,
            bus,
            settings,
            directory,
            child: None,
            target,
            output_readers: JoinSet::new(),
        };
        server.restart().await?;
        Ok(server)
    }

    /// Returns the path of the server binary beside this program.
    pub fn default_binary() -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe().context("find this program")?;
        let path = own.with_file_name("raidhall");
        anyhow::ensure!(
            path.exists(),
            "no server at {}: build it, or give its path",
            path.display()
        );
        Ok(path)
    }

    /// Returns where the server listens.
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Returns the process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Sets the binary that the next restart runs.
    pub fn change_binary(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Returns the exit status if the server has exited without being stopped.
    pub fn unexpected_exit(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self
            .child
            .as_mut()
            .map(Child::try_wait)
            .transpose()?
            .flatten())
    }

    /// Starts the server again, on the same port and the same database, and waits until it is
    /// ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let mut child = self
            .command(&["serve"])?
            .spawn()
            .with_context(|| format!("run {}", self.binary.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("the server's standard output")?;
        self.child = Some(child);
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(target) = parse_listen_line(&line) {
                    return Ok(target);
                }
            }
            bail!("the server ended without saying where it listens")
        };
        let target = match timeout(START_TIMEOUT, listening).await {
            Ok(Ok(target)) => target,
            Ok(Err(why)) => return Err(why.context(self.log_tail())),
            Err(_) => bail!(
                "the server did not say where it listens within {START_TIMEOUT:?}\n{}",
                self.log_tail()
            ),
        };
        self.output_readers
            .spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.target = target;
        let rest = RestClient::new(&target)?;
        let until = Instant::now() + START_TIMEOUT;
        while !rest.is_ready().await {
            anyhow::ensure!(
                Instant::now() < until,
                "the server is not ready\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Kills the server as a power cut would: SIGKILL.
    ///
    /// # Errors
    /// The server had already exited by itself.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.unexpected_exit()? {
            bail!(
                "the server ended by itself with {status}\n{}",
                self.log_tail()
            );
        }
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("kill the server")?;
        }
        Ok(())
    }

    /// Freezes the server with its connections open: sends SIGSTOP and waits until all threads have
    /// stopped.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let pid = self.pid().context("the server is not running")?;
        let until = Instant::now() + STOP_TIMEOUT;
        while !is_stopped(pid)? {
            anyhow::ensure!(
                Instant::now() < until,
                "the server did not stop within {STOP_TIMEOUT:?} of SIGSTOP"
            );
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Resumes a frozen server: SIGCONT.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self
            .pid()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.context("the server is not running")?, signal).context("signal the server")
    }

    /// Stops the server as a deploy would: sends SIGTERM and waits for its exit.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let mut child = self.child.take().context("the server is not running")?;
        match timeout(STOP_TIMEOUT, child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "the server did not end within {STOP_TIMEOUT:?} of SIGTERM\n{}",
                self.log_tail()
            ),
        }
    }

    /// Returns everything that the server logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Returns the last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        format!(
            "the server's log ends:\n{}",
            lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
        )
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// Mints a token with the rights of the host app's backend, which also acts for the player if one
    /// is given.
    pub async fn service_token(&self, player: Option<PlayerId>) -> anyhow::Result<String> {
        let ttl = SERVICE_TOKEN_TIME.as_secs().to_string();
        let player = player.map(|player| player.to_string());
        let mut arguments = vec!["token", "--scope", "service", "--ttl-secs", &ttl];
        if let Some(player) = &player {
            arguments.extend(["--player", player]);
        }
        let output = self.command(&arguments)?.output().await;
        let output = output.context("mint a token")?;
        anyhow::ensure!(
            output.status.success(),
            "mint a token: {}\n{}",
            output.status,
            self.log_tail()
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        for name in ["PORT", "DATABASE_URL", "REDIS_URL", "RUST_LOG"] {
            command.env_remove(name);
        }
        let known = read_supported_keys(&self.binary);
        let knows = |name: &str| {
            known
                .lines()
                .any(|line| line.starts_with(&format!("{} = ", name.to_lowercase())))
        };
        for (name, value) in LIMIT_SETTINGS.iter().filter(|(name, _)| knows(name)) {
            command.env(format!("RAIDHALL__LIMITS__{name}"), value);
        }
        command
            .env(
                "RAIDHALL__SERVER__LISTEN",
                self.target.address().to_string(),
            )
            .env("RAIDHALL__DATABASE__URL", &self.database)
            .env("RAIDHALL__AUTH__SECRET", AUTH_SECRET)
            .env("RAIDHALL__TELEMETRY__METRICS_LISTEN", "")
            .env("RAIDHALL__TELEMETRY__LOG", "warn");
        if let Some(bus) = &self.bus {
            command.env("RAIDHALL__BUS__URL", bus);
        }
        for (name, value) in &self.settings {
            command.env(format!("RAIDHALL__{name}"), value);
        }
        Ok(command)
    }
}

/// Secret of a spawned server's access tokens; that server is reachable on loopback only. With
/// Postgres a server has no place to keep a generated secret, so it needs a given one.
const AUTH_SECRET: &str = "a load test's own, on loopback only";

/// Returns a free port of this machine. It is below the range that the system gives to outgoing
/// connections, so that none of them takes the port while its server is down.
fn find_free_target() -> anyhow::Result<Target> {
    for _ in 0..100 {
        let port = rand::random_range(20_000..32_000_u16);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(Target::parse(&format!("http://127.0.0.1:{port}"))?);
        }
    }
    bail!("find a free port")
}

/// Returns the URL in the line that says where the server listens.
fn parse_listen_line(line: &str) -> Option<Target> {
    let url = &line[line.find("http://")?..];
    let end = url
        .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ')'))
        .unwrap_or(url.len());
    Target::parse(&url[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listen_url_is_found_anywhere_in_the_output_line() {
        for line in [
            "http://127.0.0.1:4711",
            "raidhall listens on http://127.0.0.1:4711/ (sqlite)",
            r#"{"message":"listening","url":"http://127.0.0.1:4711"}"#,
        ] {
            assert_eq!(
                parse_listen_line(line).map(|target| target.address().port()),
                Some(4711),
                "{line}"
            );
        }
        assert_eq!(parse_listen_line("starting"), None);
    }
}
