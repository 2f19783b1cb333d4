//! A Postgres server for one test, which the test can kill and restart.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Environment variable with the directory of `initdb` and `postgres`.
const BINARIES_VARIABLE: &str = "RAIDHALL_TEST_PG_BIN";
/// Environment variable with the user that runs Postgres, which refuses to run as root.
const USER_VARIABLE: &str = "RAIDHALL_TEST_PG_USER";
/// Limit for a start, including recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A Postgres server with its own data directory. Dropping it kills the server.
pub struct PostgresServer {
    directory: TempDir,
    address: SocketAddr,
    environment: Vec<(String, String)>,
    server: Child,
}

impl PostgresServer {
    /// Starts a server with an empty `postgres` database.
    pub async fn start() -> PostgresServer {
        Self::start_in(Vec::new()).await
    }

    /// Starts a server with an empty `postgres` database, with these environment variables.
    pub async fn start_in(environment: Vec<(String, String)>) -> PostgresServer {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .expect("make the directory accessible to the Postgres user");
        let data = directory.path().join("data");
        let mut initdb = postgres_command("initdb", &[]);
        initdb.arg("-D").arg(&data).args([
            "-U",
            "raidhall",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]);
        let output = initdb
            .current_dir(directory.path())
            .output()
            .await
            .expect("initdb runs");
        assert!(output.status.success(), "initdb failed: {output:?}");
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let server = serve(&data, address, &environment).await;
        PostgresServer {
            directory,
            address,
            environment,
            server,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    async fn serve_again(&self) -> Child {
        let data = self.directory.path().join("data");
        serve(&data, self.address, &self.environment).await
    }

    /// Kills the postmaster with SIGKILL, which ends every database session, and starts a server on
    /// the same data directory.
    pub async fn crash_and_recover(&mut self) {
        self.server.kill().await.expect("kill the postmaster");
        self.server = self.serve_again().await;
    }

    /// Restarts the server as `pg_ctl restart -m immediate` does: every database session is ended
    /// without a clean shutdown, and uncommitted work is lost.
    pub async fn restart_immediately(&mut self) {
        let id = self.server.id().expect("a postmaster that runs");
        let pid = Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id");
        kill_process(pid, Signal::QUIT).expect("signal the postmaster");
        self.server.wait().await.expect("the postmaster's status");
        self.server = self.serve_again().await;
    }
}

/// Starts a server on a data directory and waits until it accepts connections. Retries, because the
/// backends of a killed postmaster may still be ending, and a new one does not start before that.
async fn serve(data: &Path, address: SocketAddr, environment: &[(String, String)]) -> Child {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let mut command = postgres_command("postgres", environment);
        command
            .arg("-D")
            .arg(data)
            .args(["-p", &address.port().to_string()]);
        command.args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]);
        command
            .current_dir(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = command.spawn().expect("start postgres");
        while server.try_wait().expect("its status").is_none() {
            let pid_file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let is_own = pid_file.lines().next() == server.id().map(|id| id.to_string()).as_deref();
            if is_own && pid_file.lines().any(|line| line.starts_with("ready")) {
                return server;
            }
            assert!(
                Instant::now() < deadline,
                "postgres did not start in time: {pid_file}"
            );
            sleep(Duration::from_millis(50)).await;
        }
        assert!(Instant::now() < deadline, "postgres did not start in time");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Returns a command that runs one of Postgres's programs with these environment variables, as the
/// user of [`USER_VARIABLE`], if set.
fn postgres_command(program: &str, environment: &[(String, String)]) -> Command {
    let directory = env::var_os(BINARIES_VARIABLE).map(PathBuf::from);
    let directory =
        directory.unwrap_or_else(|| panic!("{BINARIES_VARIABLE} is not set: run `make test`"));
    let mut command = match env::var(USER_VARIABLE) {
        Ok(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "env"]);
            command
        }
        Err(_) => Command::new("env"),
    };
    // `env` sets them, so that they do not apply to `setpriv`, which runs as another user.
    let variables = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    command.args(variables).arg(directory.join(program));
    command.kill_on_drop(true);
    command
}
