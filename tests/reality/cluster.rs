//! A test cluster: several instances on one database and one bus, each behind a bus proxy of its
//! own, and players spread over them.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::{Codec, RaidId};
use rustix::process::Signal;

use crate::process::{TestDatabase, TestServer};
use crate::proxy::{Direction, Proxy};
use crate::raid_group::RaidGroup;
use crate::redis::RedisProcess;
use crate::test_socket::TestSocket;

/// How long after a node's end a player that the others forgot would be shown offline at the
/// latest: the longest grace, which is that after a drain, and a margin.
pub const OFFLINE_NOTICE_MAX: Duration = Duration::from_secs(12);

/// The instances, and the database and Redis that they share.
pub struct Cluster {
    pub database: TestDatabase,
    pub redis: RedisProcess,
    /// Proxies in front of Redis, one for each instance.
    pub bus_proxies: Vec<Proxy>,
    pub servers: Vec<TestServer>,
    pub targets: Targets,
}

impl Cluster {
    /// Starts instances on a new Postgres database and a new Redis.
    pub async fn start(count: usize) -> Cluster {
        Self::start_on(TestDatabase::postgres().await, count, &[]).await
    }

    /// Starts instances on the given database, with these settings.
    pub async fn start_on(
        database: TestDatabase,
        count: usize,
        settings: &[(&str, &str)],
    ) -> Cluster {
        Self::start_with_redis(database, RedisProcess::start().await, count, settings).await
    }

    /// Starts instances on the given database and Redis. Settings can bypass the proxies.
    pub async fn start_with_redis(
        database: TestDatabase,
        redis: RedisProcess,
        count: usize,
        settings: &[(&str, &str)],
    ) -> Cluster {
        let mut bus_proxies = Vec::new();
        let mut servers = Vec::new();
        for _ in 0..count {
            let bus = Proxy::to(redis.address()).await;
            servers.push(database.start_node(&bus, settings).await);
            bus_proxies.push(bus);
        }
        let targets = servers.iter().map(|server| *server.target()).collect();
        let targets = Targets::new(targets).expect("at least one instance");
        Cluster {
            database,
            redis,
            bus_proxies,
            servers,
            targets,
        }
    }

    /// Adds an instance with its own settings and environment. Players who already have their list
    /// of instances do not learn of it.
    pub async fn add_node(&mut self, settings: &[(&str, &str)], environment: &[(&str, &str)]) {
        let bus = Proxy::to(self.redis.address()).await;
        self.servers.push(
            self.database
                .start_node_in(&bus, settings, environment)
                .await,
        );
        self.bus_proxies.push(bus);
        let targets = self.servers.iter().map(|server| *server.target()).collect();
        self.targets = Targets::new(targets).expect("at least one instance");
    }

    /// Restarts an instance that was killed or has ended, on another port, and updates the players'
    /// list of instances.
    pub async fn restart(&mut self, index: usize) {
        self.restart_with_settings(index, &[]).await;
    }

    /// Restarts an instance as [`Self::restart`] does, with these settings.
    pub async fn restart_with_settings(&mut self, index: usize, settings: &[(&str, &str)]) {
        self.servers[index] = self
            .database
            .start_node(&self.bus_proxies[index], settings)
            .await;
        self.targets
            .set_target(index, *self.servers[index].target());
    }

    /// Kills an instance with SIGKILL, and waits until its process is gone.
    pub async fn kill(&mut self, index: usize) {
        self.servers[index].signal(Signal::KILL);
        self.servers[index].exit_code(Duration::from_secs(10)).await;
    }

    /// Starts a raid whose players all watch; player N's home is instance N modulo the number of
    /// instances.
    pub async fn start_group(&self, members: usize, raid: &NewRaid) -> RaidGroup {
        RaidGroup::start_on(&self.targets, members, raid).await
    }

    /// Returns the index of the instance that owns a raid, as a member's REST response names it.
    pub async fn owner_of(&self, rest: &RestClient, raid: RaidId) -> usize {
        let view = rest.raid(raid).await.expect("the raid");
        let at = |server: &TestServer| view.ws_url.contains(&server.target().address().to_string());
        self.servers
            .iter()
            .position(at)
            .unwrap_or_else(|| panic!("no instance is at {}", view.ws_url))
    }

    /// Opens a member's connection to one instance, and watches the raid on it.
    pub async fn open_socket(&self, index: usize, raid: RaidId, token: &str) -> TestSocket {
        let mut socket = TestSocket::connect_authenticated(
            self.servers[index].target(),
            Codec::ALL[index % 2],
            token,
        )
        .await;
        socket.watch(raid, None).await;
        socket
    }

    /// Holds everything between the instances and Redis; no connection is closed.
    pub fn hold_buses(&self) {
        for bus in &self.bus_proxies {
            bus.hold(&[Direction::ToServer, Direction::ToClient]);
        }
    }

    /// Lets everything through again between the instances and Redis.
    pub fn release_buses(&self) {
        for bus in &self.bus_proxies {
            bus.release();
        }
    }

    /// Waits until every instance reports that its bus works.
    pub async fn wait_until_bus_works(&self) {
        for server in &self.servers {
            server.wait_for_bus(true).await;
        }
    }
}

impl TestDatabase {
    /// Starts an instance whose bus is behind a proxy.
    pub async fn start_node(&self, bus: &Proxy, settings: &[(&str, &str)]) -> TestServer {
        self.start_node_in(bus, settings, &[]).await
    }

    async fn start_node_in(
        &self,
        bus: &Proxy,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> TestServer {
        let url = format!("redis://{}", bus.address());
        let mut all = vec![("BUS__URL", url.as_str())];
        all.extend(settings);
        self.start_with_environment(&all, environment).await
    }
}
