//! The servers of a cluster, each on a port that it keeps, with a shared database and bus.

use std::path::PathBuf;

use anyhow::Context;
use raidhall_protocol::PlayerId;

use crate::report::ClientLogDump;
use crate::server_process::{ServerProcess, ServerProcessOptions};
use crate::service::ServiceUrl;
use crate::targets::Targets;

/// The services that a cluster needs, and its server binary.
#[derive(Debug, Clone, clap::Args)]
pub struct Services {
    /// URL of the PostgreSQL database that the nodes share, on this machine
    #[arg(long, value_name = "URL", value_parser = ServiceUrl::postgres)]
    pub database: ServiceUrl,
    /// URL of the Redis that carries messages between the nodes, on this machine
    #[arg(long, value_name = "URL", value_parser = ServiceUrl::redis)]
    pub redis: ServiceUrl,
    /// Server binary; by default the one beside this program
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
}

/// The running servers of a cluster.
#[derive(Debug)]
pub struct Nodes {
    servers: Vec<ServerProcess>,
    targets: Targets,
    alternating_binaries: Option<[PathBuf; 2]>,
    restart_counts: Vec<usize>,
}

impl Nodes {
    /// Starts `count` nodes, one after the other. With `previous`, a node runs that release after
    /// its first restart, the present one after the second, and so on.
    pub async fn start(
        services: &Services,
        count: usize,
        previous: Option<&PathBuf>,
    ) -> anyhow::Result<Nodes> {
        let find = |path: &PathBuf| {
            path.canonicalize()
                .with_context(|| format!("find {}", path.display()))
        };
        let binary = services
            .binary
            .as_ref()
            .map_or_else(ServerProcess::default_binary, find)?;
        let previous = previous.map(find).transpose()?;
        let mut servers = Vec::with_capacity(count);
        for node in 0..count {
            let options = ServerProcessOptions {
                binary: binary.clone(),
                database: Some(services.database.as_str().to_owned()),
                bus: Some(services.redis.as_str().to_owned()),
                settings: Vec::new(),
            };
            servers.push(
                ServerProcess::start_with(options)
                    .await
                    .with_context(|| format!("start node {node}"))?,
            );
        }
        let mut nodes = Self::from_servers(servers)?;
        if let Some(previous) = previous {
            nodes.set_alternating_binaries(binary, previous);
        }
        Ok(nodes)
    }

    /// Makes a node run the other release after its first restart, the present one after the
    /// second, and so on.
    pub fn set_alternating_binaries(&mut self, present: PathBuf, other: PathBuf) {
        self.alternating_binaries = Some([present, other]);
    }

    /// Wraps servers that are already running.
    ///
    /// # Errors
    /// The list is empty.
    pub fn from_servers(servers: Vec<ServerProcess>) -> anyhow::Result<Nodes> {
        let targets = Targets::new(servers.iter().map(ServerProcess::target).collect())?;
        let restarts = vec![0; servers.len()];
        Ok(Nodes {
            servers,
            targets,
            alternating_binaries: None,
            restart_counts: restarts,
        })
    }

    /// Returns where the nodes listen.
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }

    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// Mints a token with the rights of the host app's backend, which also acts for the player if one
    /// is given.
    pub(in crate::run) async fn service_token(
        &self,
        player: Option<PlayerId>,
    ) -> anyhow::Result<String> {
        let first = self.servers.first().context("a cluster has a node")?;
        first.service_token(player).await
    }

    /// Kills a node as a power cut would.
    pub(super) async fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.servers[node]
            .kill()
            .await
            .with_context(|| format!("kill node {node}"))
    }

    /// Stops a node as a deploy would; fails unless it exits with success.
    pub(super) async fn terminate(&mut self, node: usize) -> anyhow::Result<()> {
        let server = &mut self.servers[node];
        let status = server
            .terminate()
            .await
            .with_context(|| format!("end node {node}"))?;
        anyhow::ensure!(
            status.success(),
            "node {node} ended with {status}\n{}",
            server.log_tail()
        );
        Ok(())
    }

    /// Restarts a node on the same port, and waits until it is ready.
    pub(super) async fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.restart_counts[node] += 1;
        let server = &mut self.servers[node];
        if let Some(releases) = &self.alternating_binaries {
            server.change_binary(&releases[self.restart_counts[node] % 2]);
        }
        server
            .restart()
            .await
            .with_context(|| format!("start node {node} again"))?;
        self.targets.set_target(node, server.target());
        Ok(())
    }

    pub(super) async fn freeze(&self, node: usize) -> anyhow::Result<()> {
        self.servers[node]
            .freeze()
            .await
            .with_context(|| format!("freeze node {node}"))
    }

    pub(super) fn thaw(&self, node: usize) -> anyhow::Result<()> {
        self.servers[node]
            .thaw()
            .with_context(|| format!("thaw node {node}"))
    }

    /// Fails when a node has exited that was not stopped.
    pub(in crate::run) fn check_all_running(&mut self) -> anyhow::Result<()> {
        for (node, server) in self.servers.iter_mut().enumerate() {
            if let Some(status) = server.unexpected_exit()? {
                anyhow::bail!(
                    "node {node} ended by itself with {status}\n{}",
                    server.log_tail()
                );
            }
        }
        Ok(())
    }

    /// Returns what each node has logged.
    pub(super) fn logs(&self) -> impl Iterator<Item = ClientLogDump> {
        let logs = self.servers.iter().map(ServerProcess::log).enumerate();
        logs.map(|(node, text)| ClientLogDump {
            name: format!("node-{node}.log"),
            text,
        })
    }

    /// Stops all nodes, one after the other; fails unless each exits with success.
    pub(in crate::run) async fn stop(&mut self) -> anyhow::Result<()> {
        for node in 0..self.count() {
            self.terminate(node).await?;
        }
        Ok(())
    }
}
