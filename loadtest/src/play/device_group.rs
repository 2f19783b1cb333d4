//! The devices of one player: how they connect to different instances, and how they settle so that
//! the player's stream can be judged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, Seq};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::device_bot::{DeviceBot, DeviceProgress, DeviceStage, rare_commands};
use crate::client::{ClientCounts, Decoder, Player, PlayerOptions, RestClient};
use crate::client_log::{RunClock, StreamLog};
use crate::judge::{ExpectedEffect, Grant, StreamCase, StreamRecord};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long replies may take after the last command.
const REPLIES_TIMEOUT: Duration = Duration::from_secs(45);
/// How long the last effects may take. The judge reports those that are missing then.
const EFFECTS_TIMEOUT: Duration = Duration::from_secs(60);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// The plan of a player's devices.
#[derive(Debug, Clone)]
pub struct DevicePlan {
    /// The player as the sign-in named them.
    pub player: PlayerRef,
    /// The options of each device, whose tokens are its own.
    pub devices: Vec<PlayerOptions>,
    pub commands_per_second: f64,
}

/// The running devices of one player.
#[derive(Debug)]
pub struct DeviceGroup {
    player: PlayerRef,
    count: usize,
    stage: watch::Sender<DeviceStage>,
    progress: Arc<DeviceProgress>,
    devices: JoinSet<(Option<StreamLog>, ClientCounts)>,
}

impl DevicePlan {
    /// Plans a device for each pair of tokens, with different homes in turn.
    pub fn new(
        player: &PlayerRef,
        tokens: Vec<TokenPair>,
        rest: &RestClient,
        clock: RunClock,
        commands_per_second: f64,
        seed: u64,
    ) -> DevicePlan {
        let codecs = raidhall_protocol::Codec::ALL;
        let decoder = Decoder::new();
        let device = |(index, tokens): (usize, TokenPair)| PlayerOptions {
            client_name: format!("device {}.{index}", player.id),
            rest: rest.with_home(index),
            tokens,
            codec: codecs[index % codecs.len()],
            decoder: Arc::clone(&decoder),
            clock,
            jitter_seed: seed.wrapping_add(index as u64),
        };
        DevicePlan {
            player: player.clone(),
            devices: tokens.into_iter().enumerate().map(device).collect(),
            commands_per_second,
        }
    }
}

impl DeviceGroup {
    /// Starts to connect the devices, and returns at once.
    pub fn connect(plan: DevicePlan) -> DeviceGroup {
        let stage = watch::Sender::new(DeviceStage::Play);
        let progress = Arc::<DeviceProgress>::default();
        let count = plan.devices.len();
        let mut devices = JoinSet::new();
        for (index, options) in plan.devices.into_iter().enumerate() {
            let bot = DeviceBot {
                rng: SmallRng::seed_from_u64(options.jitter_seed ^ 8),
                player: Player::new(options),
                index,
                commands_per_second: plan.commands_per_second,
                stage: stage.subscribe(),
                progress: Arc::clone(&progress),
                rare_commands: rare_commands(index, &plan.player.name),
            };
            devices.spawn(bot.run());
        }
        DeviceGroup {
            player: plan.player,
            count,
            stage,
            progress,
            devices,
        }
    }

    /// Returns the player whose devices they are.
    pub const fn player(&self) -> PlayerId {
        self.player.id
    }

    /// Returns whether every device has watched the stream at least once.
    pub fn has_connected(&self) -> bool {
        self.progress.watching.load(Ordering::Relaxed) >= self.count
    }

    /// Lets the devices send nothing more.
    pub fn stop_playing(&self) {
        self.stage.send_replace(DeviceStage::AwaitReplies);
    }

    /// Waits until the stream has every expected effect and each device holds all of it, or the time
    /// limits have passed. Reads the stream, and disconnects the devices.
    pub async fn settle(
        mut self,
        expected: &[ExpectedEffect],
        grants: Vec<Grant>,
    ) -> anyhow::Result<(StreamCase, Vec<ClientCounts>)> {
        self.stop_playing();
        self.wait_for(&self.progress.idle, REPLIES_TIMEOUT).await;
        let rest = self.progress.rest.lock().clone();
        let rest =
            rest.with_context(|| format!("no device of player {} is idle", self.player.id))?;
        let mut events = self.await_effects(&rest, expected).await?;
        let head = rest.player_state().await?.seq;
        self.stage.send_replace(DeviceStage::CatchUp(head));
        self.wait_for(&self.progress.settled, CATCH_UP_TIMEOUT)
            .await;
        let mut states = Vec::new();
        for server in 0..rest.targets().count() {
            states.push(rest.only(server).player_state().await?);
        }
        let profile = rest.profile().await?;
        self.stage.send_replace(DeviceStage::Finished);
        let results = std::mem::take(&mut self.devices).join_all().await;
        // By now no device receives events any more, so the stream has what they all received.
        events.extend(rest.player_events(newest_seq(&events)).await?);
        let (logs, counts): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let mut devices: Vec<_> = logs.into_iter().flatten().collect();
        devices.sort_by(|a, b| a.client.cmp(&b.client));
        let record = StreamRecord {
            player: self.player,
            events,
            states,
            profile: Some(profile),
        };
        let case = StreamCase {
            record,
            devices,
            grants,
        };
        Ok((case, counts))
    }

    /// Reads the stream until it has every expected effect, or the time limit has passed.
    async fn await_effects(
        &self,
        rest: &RestClient,
        expected: &[ExpectedEffect],
    ) -> anyhow::Result<Vec<PlayerEvent>> {
        let ours = expected.iter().filter(|it| it.player == self.player.id);
        let mut missing: BTreeSet<_> = ours.map(|it| (it.cause.raid, it.cause.seq)).collect();
        let until = Instant::now() + EFFECTS_TIMEOUT;
        let mut events = Vec::new();
        loop {
            let new = rest.player_events(newest_seq(&events)).await?;
            for cause in new.iter().filter_map(|event| event.cause) {
                missing.remove(&(cause.raid, cause.seq));
            }
            events.extend(new);
            if missing.is_empty() || Instant::now() >= until {
                return Ok(events);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn wait_for(&self, mark: &AtomicUsize, patience: Duration) {
        let until = Instant::now() + patience;
        while mark.load(Ordering::Relaxed) < self.count && Instant::now() < until {
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn newest_seq(events: &[PlayerEvent]) -> Seq {
    events.last().map_or(Seq::ZERO, |event| event.seq)
}
