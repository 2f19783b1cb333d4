//! What the host app's backend grants to players outside of raids: XP, coins and items, by REST and
//! each exactly once, until it is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::player::PlayerCommand;
use raidhall_protocol::{OpKey, PlayerId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::device_bot::SHOP_ITEMS;
use crate::client::{RestClient, RestClientError};
use crate::judge::Grant;

const GRANT_INTERVAL: Duration = Duration::from_millis(500);
/// How long an answer may take while servers are disturbed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);
const XP_MAX: i64 = 60;
const COINS_MAX: i64 = 100;
/// Kinds of XP: one trains a skill, one trains none.
const XP_KINDS: [&str; 2] = ["habit", "gift"];

/// The grants of each player, in the order in which they were sent.
pub type GrantsByPlayer = BTreeMap<PlayerId, Vec<Grant>>;

/// The task that sends grants.
#[derive(Debug)]
pub struct GrantSender {
    has_ended: watch::Sender<bool>,
    task: JoinSet<anyhow::Result<GrantsByPlayer>>,
}

impl GrantSender {
    /// Starts to send grants to players in turn. `rest` has the backend's token.
    pub fn start(rest: &RestClient, players: Vec<PlayerId>, seed: u64) -> GrantSender {
        let has_ended = watch::Sender::new(false);
        let mut task = JoinSet::new();
        let rest = rest.with_retry_timeout(ANSWER_TIMEOUT);
        let rng = SmallRng::seed_from_u64(seed ^ 9);
        task.spawn(send_grants(rest, players, rng, has_ended.subscribe()));
        GrantSender { has_ended, task }
    }

    /// Stops sending, and returns what was sent. Fails if a grant was not answered in time.
    pub async fn stop(mut self) -> anyhow::Result<GrantsByPlayer> {
        self.has_ended.send_replace(true);
        let sent = self.task.join_next().await;
        sent.context("the task of grants is running")??
    }
}

async fn send_grants(
    rest: RestClient,
    players: Vec<PlayerId>,
    mut rng: SmallRng,
    mut has_ended: watch::Receiver<bool>,
) -> anyhow::Result<GrantsByPlayer> {
    let mut grants = GrantsByPlayer::new();
    for (number, player) in players.iter().cycle().enumerate() {
        let ended = has_ended.wait_for(|has_ended| *has_ended);
        if timeout(GRANT_INTERVAL, ended).await.is_ok() {
            break;
        }
        let op = format!("grant-{number}-{:08x}", rng.random::<u32>());
        let command = next_grant(&mut rng, &op);
        let op = OpKey::try_from(op).expect("an op");
        let ack = match rest.command_player(*player, &op, &command).await {
            Ok(result) => Some(result.seq),
            Err(error @ RestClientError::Refused { .. }) if !error.is_retryable() => None,
            Err(error) => return Err(error).context("grant something to a player"),
        };
        grants
            .entry(*player)
            .or_default()
            .push(Grant { command, ack });
    }
    Ok(grants)
}

/// Returns a grant whose effect no other grant of the run has, except for items.
fn next_grant(rng: &mut SmallRng, unique: &str) -> PlayerCommand {
    let note = unique.to_owned();
    match rng.random_range(0..5) {
        0 | 1 => PlayerCommand::GrantXp {
            amount: rng.random_range(1..=XP_MAX),
            kind: XP_KINDS[rng.random_range(0..XP_KINDS.len())].to_owned(),
            note,
        },
        2 | 3 => PlayerCommand::GrantCoins {
            amount: rng.random_range(1..=COINS_MAX),
            note,
        },
        _ => PlayerCommand::GrantItem {
            item: SHOP_ITEMS[rng.random_range(0..SHOP_ITEMS.len())].to_owned(),
        },
    }
}
