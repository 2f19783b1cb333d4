//! Several instances on one database and one bus, each of which may be reached through a proxy of its own, and players
//! spread over them.

use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::{Codec, RaidId};
use rustix::process::Signal;

use crate::party::Party;
use crate::process::{Server, Site};
use crate::proxy::{Proxy, Way};
use crate::redis::RedisServer;
use crate::wire::Wire;

/// How long after a node's end somebody who was forgotten over it would be shown gone at the latest: the longest grace,
/// which is that after a drain, and a little more.
pub const AFTERMATH: Duration = Duration::from_secs(12);

/// The instances, and what they share.
pub struct Fleet {
    pub site: Site,
    pub redis: RedisServer,
    /// In front of Redis, one for each instance.
    pub buses: Vec<Proxy>,
    pub servers: Vec<Server>,
    pub targets: Targets,
}

impl Fleet {
    /// Instances on a Postgres database and a Redis of their own.
    pub async fn of(count: usize) -> Fleet {
        Self::on(Site::postgres().await, count, &[]).await
    }

    /// The same on a site of one's own, with settings of one's own.
    pub async fn on(site: Site, count: usize, settings: &[(&str, &str)]) -> Fleet {
        Self::over(site, RedisServer::start().await, count, settings).await
    }

    /// The same with a Redis of one's own. Settings may lead past the proxies.
    pub async fn over(
        site: Site,
        redis: RedisServer,
        count: usize,
        settings: &[(&str, &str)],
    ) -> Fleet {
        let (mut buses, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let bus = Proxy::to(redis.address()).await;
            servers.push(site.start_node(&bus, settings).await);
            buses.push(bus);
        }
        let targets = servers.iter().map(|server| *server.target()).collect();
        let targets = Targets::new(targets).expect("one at least");
        Fleet {
            site,
            redis,
            buses,
            servers,
            targets,
        }
    }

    /// An instance more, with settings of its own, and with more in its environment. Players who are there do not learn
    /// of it.
    pub async fn join(&mut self, settings: &[(&str, &str)], environment: &[(&str, &str)]) {
        let bus = Proxy::to(self.redis.address()).await;
        self.servers
            .push(self.site.start_node_in(&bus, settings, environment).await);
        self.buses.push(bus);
        let targets = self.servers.iter().map(|server| *server.target()).collect();
        self.targets = Targets::new(targets).expect("one at least");
    }

    /// Starts an instance again that was killed or has ended, on another port; the players' list says where.
    pub async fn restart(&mut self, index: usize) {
        self.restart_with(index, &[]).await;
    }

    /// The same with settings of its own.
    pub async fn restart_with(&mut self, index: usize, settings: &[(&str, &str)]) {
        self.servers[index] = self.site.start_node(&self.buses[index], settings).await;
        self.targets.moved(index, *self.servers[index].target());
    }

    /// `kill -9` to one, and no process any more.
    pub async fn kill(&mut self, index: usize) {
        self.servers[index].signal(Signal::KILL);
        self.servers[index].exit_code(Duration::from_secs(10)).await;
    }

    /// A raid that is being played: player N is at home at instance N modulo their number, and all watch.
    pub async fn at_play(&self, members: usize, raid: &NewRaid) -> Party {
        Party::at_play_over(&self.targets, members, raid).await
    }

    /// The instance that owns a raid, by what any member is told.
    pub async fn owner_of(&self, rest: &Rest, raid: RaidId) -> usize {
        let view = rest.raid(raid).await.expect("the raid");
        let at = |server: &Server| view.ws_url.contains(&server.target().address().to_string());
        self.servers
            .iter()
            .position(at)
            .unwrap_or_else(|| panic!("nobody is at {}", view.ws_url))
    }

    /// A member's connection to one of the instances, which watches the raid.
    pub async fn wire(&self, index: usize, raid: RaidId, token: &str) -> Wire {
        let mut wire = Wire::open(self.servers[index].target(), Codec::ALL[index % 2], token).await;
        wire.watch(raid, None).await;
        wire
    }

    /// Lets nothing through between any instance and Redis, without a word to anybody.
    pub fn hold_buses(&self) {
        self.buses
            .iter()
            .for_each(|bus| bus.hold(&[Way::ToServer, Way::ToClient]));
    }

    /// Everything goes through again.
    pub fn release_buses(&self) {
        self.buses.iter().for_each(Proxy::release);
    }

    /// Waits until every instance says that its bus works.
    pub async fn heals(&self) {
        for server in &self.servers {
            server.bus_works(true).await;
        }
    }
}

impl Site {
    /// An instance whose bus is behind a proxy.
    pub async fn start_node(&self, bus: &Proxy, settings: &[(&str, &str)]) -> Server {
        self.start_node_in(bus, settings, &[]).await
    }

    async fn start_node_in(
        &self,
        bus: &Proxy,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Server {
        let url = format!("redis://{}", bus.address());
        let mut all = vec![("BUS__URL", url.as_str())];
        all.extend(settings);
        self.start_in(&all, environment).await
    }
}
