//! Several instances on one database and one bus, each of which may be reached through a proxy of its own, and players
//! spread over them.

use crate::party::{Party, until};
use crate::process::{Server, Site};
use crate::proxy::Proxy;
use crate::redis::RedisServer;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::Command;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::state::RaidStatus;

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
        let redis = RedisServer::start().await;
        let (mut buses, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let bus = Proxy::to(redis.address()).await;
            servers.push(site.start_node(&bus, settings).await);
            buses.push(bus);
        }
        let targets = servers.iter().map(|server| *server.target()).collect();
        let targets = Targets::new(targets).expect("one at least");
        Fleet { site, redis, buses, servers, targets }
    }

    /// Starts an instance again that was killed or has ended, on another port; the players' list says where.
    pub async fn restart(&mut self, index: usize) {
        self.servers[index] = self.site.start_node(&self.buses[index], &[]).await;
        self.targets.moved(index, *self.servers[index].target());
    }

    /// A raid that is being played: player N is at home at instance N modulo their number, and all watch.
    pub async fn at_play(&self, members: usize, raid: &NewRaid) -> Party {
        let mut party = Party::gather_over(&self.targets, members, raid).await;
        let raid = party.raid;
        for player in &mut party.players {
            player.watch(raid).await;
            until(player, "watches", |player| player.watches(raid)).await;
        }
        party.players[0].act(raid, Command::Start).await;
        for player in &mut party.players {
            let active = |state: &raidhall_protocol::RaidState| state.status == RaidStatus::Active;
            until(player, "sees the start", |player| player.state(raid).is_some_and(active)).await;
        }
        party
    }
}

impl Site {
    /// An instance whose bus is behind a proxy.
    pub async fn start_node(&self, bus: &Proxy, settings: &[(&str, &str)]) -> Server {
        let url = format!("redis://{}", bus.address());
        let mut all = vec![("BUS__URL", url.as_str())];
        all.extend(settings);
        self.start_with(&all).await
    }
}
