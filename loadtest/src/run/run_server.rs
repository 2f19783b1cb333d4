//! The server that a run talks to: one of its own, or one that is already there.

use std::path::PathBuf;

use anyhow::Context;

use crate::process::ProcessUsage;
use crate::server_process::ServerProcess;
use crate::target::Target;

/// Where a run finds its server.
#[derive(Debug, Clone, clap::Args)]
pub struct RunServerArgs {
    /// Start a server for this run: the one beside this program, or the given binary
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub spawn: Option<Option<PathBuf>>,
    /// Use a server of this machine that is already there
    #[arg(
        long,
        default_value = "http://127.0.0.1:8080",
        conflicts_with = "spawn"
    )]
    pub url: String,
    /// The database of the server that is started; by default a SQLite file for this run only
    #[arg(long, requires = "spawn")]
    pub database: Option<String>,
}

/// A server, and whether it is this run's own.
#[derive(Debug)]
pub enum RunServer {
    /// Started for this run.
    Spawned(Box<ServerProcess>),
    /// Somebody else's.
    External(Target),
}

impl RunServer {
    /// Finds or starts it.
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

    /// Where it listens.
    pub fn target(&self) -> Target {
        match self {
            RunServer::Spawned(server) => server.target(),
            RunServer::External(target) => *target,
        }
    }

    /// What its process uses, if it is this run's own.
    pub fn usage(&self) -> Option<ProcessUsage> {
        match self {
            RunServer::Spawned(server) => ProcessUsage::from_pid(server.pid()?).ok(),
            RunServer::External(_) => None,
        }
    }

    /// Ends it as a deploy would, if it is this run's own; it must say that all went well.
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
