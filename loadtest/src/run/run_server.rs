//! The server of a run: one that the run starts, or one that is already running.

use std::path::PathBuf;

use anyhow::Context;

use crate::process::ProcessUsage;
use crate::server_process::ServerProcess;
use crate::target::Target;

/// Arguments that select the server of a run.
#[derive(Debug, Clone, clap::Args)]
pub struct RunServerArgs {
    /// Start a server for this run: the one beside this program, or the given binary
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub spawn: Option<Option<PathBuf>>,
    /// Use a server on this machine that is already running
    #[arg(
        long,
        default_value = "http://127.0.0.1:8080",
        conflicts_with = "spawn"
    )]
    pub url: String,
    /// Database of the server that is started; by default a SQLite file for this run only
    #[arg(long, requires = "spawn")]
    pub database: Option<String>,
}

/// The server of a run.
#[derive(Debug)]
pub enum RunServer {
    /// A server process that this run started.
    Spawned(Box<ServerProcess>),
    /// A server that was already running.
    External(Target),
}

impl RunServer {
    /// Starts the server, or parses the URL of a running one.
    pub async fn open(args: &RunServerArgs) -> anyhow::Result<RunServer> {
        let Some(path) = &args.spawn else {
            return Ok(RunServer::External(Target::parse(&args.url)?));
        };
        let binary = match path {
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("find {}", path.display()))?,
            None => ServerProcess::default_binary()?,
        };
        Ok(RunServer::Spawned(Box::new(
            ServerProcess::start(&binary, args.database.as_deref()).await?,
        )))
    }

    /// Returns where the server listens.
    pub fn target(&self) -> Target {
        match self {
            RunServer::Spawned(server) => server.target(),
            RunServer::External(target) => *target,
        }
    }

    /// Returns what the server's process uses, if this run started it.
    pub fn usage(&self) -> Option<ProcessUsage> {
        match self {
            RunServer::Spawned(server) => ProcessUsage::from_pid(server.pid()?).ok(),
            RunServer::External(_) => None,
        }
    }

    /// Stops the server as a deploy would, if this run started it; fails unless it exits with
    /// success.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        let RunServer::Spawned(server) = self else {
            return Ok(());
        };
        let status = server.terminate().await?;
        anyhow::ensure!(
            status.success(),
            "the server ended with {status}\n{}",
            server.log_tail()
        );
        Ok(())
    }
}
