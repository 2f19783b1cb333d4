//! The server that a run talks to: one of its own, or one that is already there.

use std::path::PathBuf;

use anyhow::Context;

use crate::process::Usage;
use crate::spawn::Server;
use crate::target::Target;

/// Where a run finds its server.
#[derive(Debug, Clone, clap::Args)]
pub struct HostArgs {
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
pub enum Host {
    /// Started for this run.
    Own(Box<Server>),
    /// Somebody else's.
    Other(Target),
}

impl Host {
    /// Finds or starts it.
    pub async fn open(args: &HostArgs) -> anyhow::Result<Host> {
        let Some(path) = &args.spawn else {
            return Ok(Host::Other(Target::parse(&args.url)?));
        };
        let binary = match path {
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("find {}", path.display()))?,
            None => Server::sibling()?,
        };
        Ok(Host::Own(Box::new(
            Server::start(&binary, args.database.as_deref()).await?,
        )))
    }

    /// Where it listens.
    pub fn target(&self) -> Target {
        match self {
            Host::Own(server) => server.target(),
            Host::Other(target) => *target,
        }
    }

    /// What its process uses, if it is this run's own.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Host::Own(server) => Usage::of(server.pid()?).ok(),
            Host::Other(_) => None,
        }
    }

    /// Ends it as a deploy would, if it is this run's own; it must say that all went well.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        let Host::Own(server) = self else {
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
