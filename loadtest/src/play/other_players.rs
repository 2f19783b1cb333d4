//! The players who come to a raid beside the group's members: an outsider, a visitor and a hostile
//! member.

use std::sync::Arc;

use anyhow::Context;
use raidhall_protocol::RaidId;
use raidhall_protocol::rest::{RaidView, TokenPair};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bot::GroupProgress;
use super::bot_group::{GroupOutcome, GroupPlan, GroupStage};
use super::hostile_member::HostileMember;
use super::outsider::Outsider;
use super::visitor::{Visitor, VisitorRecord};
use crate::client::{Decoder, Player, PlayerOptions, RestClient};
use crate::client_log::{ClientLog, RunClock};

/// Who comes to the raid beside the group's members.
#[derive(Debug, Clone, Default)]
pub struct OtherPlayers {
    /// Whether a player who is no member tries to read, watch and command the raid.
    pub has_outsider: bool,
    /// An operator's token, if a visitor joins the raid for a while who is then banned or erased.
    pub operator_token: Option<String>,
    /// Whether there is one more member, who floods the raid and reads little.
    pub has_hostile_member: bool,
}

impl OtherPlayers {
    /// Returns how many of them join the raid.
    pub(super) fn member_count(&self) -> usize {
        usize::from(self.operator_token.is_some()) + usize::from(self.has_hostile_member)
    }
}

/// What all clients of a group are made from.
#[derive(Debug)]
pub(super) struct ClientFactory<'a> {
    pub(super) plan: &'a GroupPlan,
    pub(super) rest: &'a RestClient,
    pub(super) clock: RunClock,
    pub(super) decoder: Arc<Decoder>,
}

impl ClientFactory<'_> {
    /// Returns the options of the player with this index. Those of the other players follow those of
    /// the members.
    pub(super) fn options(&self, index: usize, tokens: &TokenPair) -> PlayerOptions {
        let plan = self.plan;
        let codec = plan.codecs[(index + plan.index) % plan.codecs.len()];
        let seed = plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        PlayerOptions {
            client_name: format!("{}.{index} ({codec:?})", plan.index),
            rest: self.rest.with_home(plan.index + index),
            tokens: tokens.clone(),
            codec,
            decoder: Arc::clone(&self.decoder),
            clock: self.clock,
            jitter_seed: seed.wrapping_add(index as u64),
        }
    }
}

/// The tokens of the other players.
#[derive(Debug, Default)]
pub(super) struct OtherTokens {
    outsider: Option<TokenPair>,
    visitor: Option<TokenPair>,
    hostile_member: Option<TokenPair>,
}

impl OtherTokens {
    /// Signs the other players in. The hostile member joins the raid at once.
    pub(super) async fn sign_in(
        rest: &RestClient,
        plan: &GroupPlan,
        raid: &RaidView,
    ) -> anyhow::Result<OtherTokens> {
        let sign_in = async |name: &str| {
            let name = format!("{name} of group {}", plan.index);
            let pair = rest.with_home(plan.index).sign_in_guest(&name).await;
            pair.context("sign a guest in")
        };
        let mut tokens = OtherTokens::default();
        if plan.others.has_outsider {
            tokens.outsider = Some(sign_in("Outsider").await?);
        }
        if plan.others.operator_token.is_some() {
            tokens.visitor = Some(sign_in("Visitor").await?);
        }
        if plan.others.has_hostile_member {
            let pair = sign_in("Hostile member").await?;
            let rest = rest.with_token(&pair.access_token);
            rest.join_raid(&raid.state.invite_code).await?;
            tokens.hostile_member = Some(pair);
        }
        Ok(tokens)
    }
}

/// The running tasks of the other players.
#[derive(Debug, Default)]
pub(super) struct RunningOthers {
    outsider: JoinSet<Vec<ClientLog>>,
    visitor: JoinSet<VisitorRecord>,
    hostile_member: JoinSet<()>,
}

impl RunningOthers {
    pub(super) fn start(
        tokens: &OtherTokens,
        clients: &ClientFactory<'_>,
        raid: RaidId,
        progress: &Arc<GroupProgress>,
        stage: &watch::Sender<GroupStage>,
    ) -> RunningOthers {
        let mut running = RunningOthers::default();
        let first_index = clients.plan.players;
        if let Some(tokens) = &tokens.outsider {
            let options = clients.options(first_index, tokens);
            let outsider = Outsider {
                raid,
                rng: SmallRng::seed_from_u64(options.jitter_seed ^ 3),
                player: Player::new(options),
                stage: stage.subscribe(),
            };
            running.outsider.spawn(outsider.run());
        }
        if let Some(tokens) = &tokens.visitor
            && let Some(operator_token) = &clients.plan.others.operator_token
        {
            let options = clients.options(first_index + 1, tokens);
            let visitor = Visitor {
                raid,
                operator: clients.rest.with_token(operator_token),
                rng: SmallRng::seed_from_u64(options.jitter_seed ^ 5),
                options,
                progress: Arc::clone(progress),
                stage: stage.subscribe(),
            };
            running.visitor.spawn(visitor.run());
        }
        if let Some(tokens) = &tokens.hostile_member {
            let options = clients.options(first_index + 2, tokens);
            let hostile = HostileMember {
                raid,
                rng: SmallRng::seed_from_u64(options.jitter_seed ^ 6),
                player: Player::new(options),
                stage: stage.subscribe(),
            };
            running.hostile_member.spawn(hostile.run());
        }
        running
    }

    /// Waits until they have ended, and adds what they recorded to the group's outcome.
    pub(super) async fn finish(mut self, outcome: &mut GroupOutcome) -> anyhow::Result<()> {
        if let Some(logs) = self.outsider.join_next().await {
            outcome.outsider_log = logs.context("the outsider's task")?.pop();
        }
        if let Some(record) = self.visitor.join_next().await {
            outcome.visitor = Some(record.context("the visitor's task")?);
        }
        if let Some(ended) = self.hostile_member.join_next().await {
            ended.context("the hostile member's task")?;
        }
        Ok(())
    }
}
