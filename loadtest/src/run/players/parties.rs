//! The players of a run: parties of friends, each of which plays three raids at the same time.

use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::PlayerId;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;

use crate::client::RestClient;
use crate::play::{BotHabits, GroupPlan, RaidSetup};
use crate::run::cluster::{Nodes, SteadyLoadArgs};

/// The raids of a party, in this order.
const RAID_KINDS: [RaidKind; 3] = [RaidKind::Unranked, RaidKind::Ranked, RaidKind::Winnable];
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RaidKind {
    /// The host app's backend credits its members; its leader cancels it at the end.
    Unranked,
    /// The same, and its tasks come from the backend.
    Ranked,
    /// Its members win it at the end.
    Winnable,
}

/// The players of all parties, and the backend that signs their clients in.
#[derive(Debug)]
pub(super) struct Parties {
    parties: Vec<Vec<PlayerRef>>,
    rest: RestClient,
    backend_token: String,
}

impl Parties {
    /// Creates the players, as guests.
    pub(super) async fn sign_in(nodes: &Nodes, play: &SteadyLoadArgs) -> anyhow::Result<Parties> {
        let rest = RestClient::with_targets(nodes.targets())?.with_retry_timeout(SIGN_IN_TIMEOUT);
        let mut parties = Vec::new();
        for party in 0..play.raids.div_ceil(RAID_KINDS.len()) {
            let mut players = Vec::new();
            for index in 0..play.players {
                let name = format!("Player {index} of party {party}");
                let tokens = rest.sign_in_guest(&name).await;
                players.push(tokens.context("sign a guest in")?.player);
            }
            parties.push(players);
        }
        Ok(Parties {
            parties,
            rest,
            backend_token: nodes.service_token(None).await?,
        })
    }

    pub(super) fn players(&self) -> impl Iterator<Item = &PlayerRef> {
        self.parties.iter().flatten()
    }

    /// Returns a client without a token.
    pub(super) const fn rest(&self) -> &RestClient {
        &self.rest
    }

    /// Returns the backend's client.
    pub(super) fn backend(&self) -> RestClient {
        self.rest.with_token(&self.backend_token)
    }

    /// Returns the tokens of one of the backend's connections, which acts for no player. They name
    /// one because every client's do.
    pub(super) fn backend_tokens(&self) -> anyhow::Result<TokenPair> {
        Ok(TokenPair {
            access_token: self.backend_token.clone(),
            refresh_token: String::new(),
            expires_in: crate::server_process::SERVICE_TOKEN_TIME.as_secs(),
            player: self.players().next().context("a player")?.clone(),
        })
    }

    /// Signs a player in on further devices.
    pub(super) async fn sign_in_devices(
        &self,
        player: PlayerId,
        count: usize,
    ) -> anyhow::Result<Vec<TokenPair>> {
        let backend = self.backend();
        let mut tokens = Vec::with_capacity(count);
        for index in 0..count {
            let signed_in = backend.with_home(index).sign_in_device(player).await;
            tokens.push(signed_in.context("sign a device in")?);
        }
        Ok(tokens)
    }

    /// Plans the raids of all parties. A player's bot in each raid is a client of its own.
    pub(super) async fn plan_raids(
        &self,
        nodes: &Nodes,
        play: &SteadyLoadArgs,
    ) -> anyhow::Result<Vec<(GroupPlan, RaidSetup)>> {
        let mut raids = Vec::new();
        for mut plan in play.plans() {
            let kind = RAID_KINDS[plan.index % RAID_KINDS.len()];
            let players = &self.parties[plan.index / RAID_KINDS.len()];
            plan.is_winnable = kind == RaidKind::Winnable;
            plan.habits = BotHabits {
                may_leave: true,
                may_moderate: true,
                ..BotHabits::default()
            };
            let mut setup = RaidSetup {
                is_cancelled_at_end: kind != RaidKind::Winnable,
                ..RaidSetup::default()
            };
            for player in players {
                setup
                    .tokens
                    .extend(self.sign_in_devices(player.id, 1).await?);
            }
            if kind == RaidKind::Ranked {
                let creator = players.first().context("a party has players")?;
                setup.ranking_token = Some(nodes.service_token(Some(creator.id)).await?);
            }
            raids.push((plan, setup));
        }
        Ok(raids)
    }
}
