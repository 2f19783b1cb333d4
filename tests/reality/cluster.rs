//! Several instances on one database and one bus, each of which may be reached through a proxy of its own, and players
//! spread over them.

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

/// How long after a node's end somebody who was forgotten over it would be shown gone at the latest: the longest grace,
/// which is that after a drain, and a little more.
pub const OFFLINE_NOTICE_MAX: Duration = Duration::from_secs(12);

/// The instances, and what they share.
pub struct Cluster {
    pub database: TestDatabase,
    pub redis: RedisProcess,
    /// In front of Redis, one for each instance.
    pub bus_proxies: Vec<Proxy>,
    pub servers: Vec<TestServer>,
    pub targets: Targets,
}

impl Cluster {
    /// Instances on a Postgres database and a Redis of their own.
    pub async fn start(count: usize) -> Cluster {
        Self::start_on(TestDatabase::postgres().await, count, &[]).await
    }

    /// The same on a site of one's own, with settings of one's own.
    pub async fn start_on(site: TestDatabase, count: usize, settings: &[(&str, &str)]) -> Cluster {
        Self::start_with_redis(site, RedisProcess::start().await, count, settings).await
    }

    /// The same with a Redis of one's own. Settings may lead past the proxies.
    pub async fn start_with_redis(
        site: TestDatabase,
        redis: RedisProcess,
        count: usize,
        settings: &[(&str, &str)],
    ) -> Cluster {
        let (mut buses, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let bus = Proxy::to(redis.address()).await;
            servers.push(site.start_node(&bus, settings).await);
            buses.push(bus);
        }
        let targets = servers.iter().map(|server| *server.target()).collect();
        let targets = Targets::new(targets).expect("one at least");
        Cluster {
            database: site,
            redis,
            bus_proxies: buses,
            servers,
            targets,
        }
    }

    /// An instance more, with settings of its own, and with more in its environment. Players who are there do not learn
    /// of it.
    pub async fn add_node(&mut self, settings: &[(&str, &str)], environment: &[(&str, &str)]) {
        let bus = Proxy::to(self.redis.address()).await;
        self.servers.push(
            self.database
                .start_node_in(&bus, settings, environment)
                .await,
        );
        self.bus_proxies.push(bus);
        let targets = self.servers.iter().map(|server| *server.target()).collect();
        self.targets = Targets::new(targets).expect("one at least");
    }

    /// Starts an instance again that was killed or has ended, on another port; the players' list says where.
    pub async fn restart(&mut self, index: usize) {
        self.restart_with_settings(index, &[]).await;
    }

    /// The same with settings of its own.
    pub async fn restart_with_settings(&mut self, index: usize, settings: &[(&str, &str)]) {
        self.servers[index] = self
            .database
            .start_node(&self.bus_proxies[index], settings)
            .await;
        self.targets
            .set_target(index, *self.servers[index].target());
    }

    /// `kill -9` to one, and no process any more.
    pub async fn kill(&mut self, index: usize) {
        self.servers[index].signal(Signal::KILL);
        self.servers[index].exit_code(Duration::from_secs(10)).await;
    }

    /// A raid that is being played: player N is at home at instance N modulo their number, and all watch.
    pub async fn start_group(&self, members: usize, raid: &NewRaid) -> RaidGroup {
        RaidGroup::start_on(&self.targets, members, raid).await
    }

    /// The instance that owns a raid, by what any member is told.
    pub async fn owner_of(&self, rest: &RestClient, raid: RaidId) -> usize {
        let view = rest.raid(raid).await.expect("the raid");
        let at = |server: &TestServer| view.ws_url.contains(&server.target().address().to_string());
        self.servers
            .iter()
            .position(at)
            .unwrap_or_else(|| panic!("nobody is at {}", view.ws_url))
    }

    /// A member's connection to one of the instances, which watches the raid.
    pub async fn open_socket(&self, index: usize, raid: RaidId, token: &str) -> TestSocket {
        let mut wire = TestSocket::connect_authenticated(
            self.servers[index].target(),
            Codec::ALL[index % 2],
            token,
        )
        .await;
        wire.watch(raid, None).await;
        wire
    }

    /// Lets nothing through between any instance and Redis, without a word to anybody.
    pub fn hold_buses(&self) {
        self.bus_proxies
            .iter()
            .for_each(|bus| bus.hold(&[Direction::ToServer, Direction::ToClient]));
    }

    /// Everything goes through again.
    pub fn release_buses(&self) {
        self.bus_proxies.iter().for_each(Proxy::release);
    }

    /// Waits until every instance says that its bus works.
    pub async fn wait_until_bus_works(&self) {
        for server in &self.servers {
            server.wait_for_bus(true).await;
        }
    }
}

impl TestDatabase {
    /// An instance whose bus is behind a proxy.
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
