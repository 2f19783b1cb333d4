//! A device of a player: a task that follows the player's own stream, changes settings and visits the
//! shop now and then, until the run is finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::Seq;
use raidhall_protocol::player::PlayerCommand;
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{ClientCounts, Player, RestClient};
use crate::client_log::StreamLog;

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long the last events may take to reach a device once the run settles.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15);
/// The setting that all devices of a player change, each by the version that it holds.
const SHARED_SETTING: &str = "app.shared";
/// One of so many commands changes the shared setting.
const COMMANDS_PER_SHARED_ONE: u32 = 4;
/// One of so many commands buys or equips an item.
const COMMANDS_PER_SHOP_ONE: u32 = 6;
/// Items of the shop, as the built-in definitions have them.
pub(super) const SHOP_ITEMS: [&str; 4] = [
    "frame_bronze",
    "frame_gold",
    "title_early_bird",
    "title_night_owl",
];

/// A stage of a run, which the devices of a player follow.
#[derive(Debug, Clone, Copy)]
pub(super) enum DeviceStage {
    Play,
    /// Send nothing more, and wait for the replies.
    AwaitReplies,
    /// Wait for all events up to this seq.
    CatchUp(Seq),
    Finished,
}

/// How many devices of a player have reached each point.
#[derive(Debug, Default)]
pub(super) struct DeviceProgress {
    pub(super) watching: AtomicUsize,
    pub(super) idle: AtomicUsize,
    pub(super) settled: AtomicUsize,
    /// The REST client with the latest token of the first device that was idle.
    pub(super) rest: Mutex<Option<RestClient>>,
}

#[derive(Debug)]
pub(super) struct DeviceBot {
    pub(super) player: Player,
    /// The index of the device among those of the player.
    pub(super) index: usize,
    pub(super) commands_per_second: f64,
    pub(super) rng: SmallRng,
    pub(super) stage: watch::Receiver<DeviceStage>,
    pub(super) progress: Arc<DeviceProgress>,
    /// Commands that the server accepts only a few times a day.
    pub(super) rare_commands: Vec<PlayerCommand>,
}

impl DeviceBot {
    /// Follows the stream until the run is finished.
    pub(super) async fn run(mut self) -> (Option<StreamLog>, ClientCounts) {
        self.player.watch_own_stream().await;
        let mut next_command = Instant::now() + self.jittered_pause();
        let mut is_watching = false;
        let mut is_idle = false;
        let mut is_settled = false;
        loop {
            let stage = *self.stage.borrow_and_update();
            let mut wake = Instant::now() + POLL_INTERVAL;
            match stage {
                DeviceStage::Play => {
                    if next_command <= Instant::now() && self.player.is_watching_own_stream() {
                        self.send_command().await;
                        next_command = Instant::now() + self.jittered_pause();
                    }
                    wake = wake.min(next_command.max(Instant::now() + Duration::from_millis(1)));
                }
                DeviceStage::AwaitReplies => {
                    if !is_idle && self.player.pending_count() == 0 {
                        is_idle = true;
                        let rest = self.player.rest().with_retry_timeout(CATCH_UP_TIMEOUT);
                        self.progress.rest.lock().get_or_insert(rest);
                        self.progress.idle.fetch_add(1, Ordering::Relaxed);
                    }
                }
                DeviceStage::CatchUp(head) => {
                    if !is_settled {
                        self.catch_up(head).await;
                        is_settled = true;
                        self.progress.settled.fetch_add(1, Ordering::Relaxed);
                    }
                }
                DeviceStage::Finished => break,
            }
            self.player.step(wake).await;
            if !is_watching && self.player.is_watching_own_stream() {
                is_watching = true;
                self.progress.watching.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.player.disconnect_device().await
    }

    /// Sends a command whose effect no other command of the run has, except for rare ones and those of
    /// the shop.
    async fn send_command(&mut self) {
        let op = self.player.new_op();
        let unique = Value::from(op.as_str());
        let command = if let Some(rare) = self.rare_commands.pop() {
            rare
        } else if self.rng.random_ratio(1, COMMANDS_PER_SHOP_ONE) {
            self.shop_command()
        } else if self.rng.random_ratio(1, COMMANDS_PER_SHARED_ONE) {
            let state = self.player.own_state();
            let held = state.and_then(|state| state.settings.get(SHARED_SETTING));
            PlayerCommand::SetSetting {
                key: SHARED_SETTING.to_owned(),
                value: unique,
                if_version: Some(held.map_or(0, |setting| setting.version)),
            }
        } else {
            PlayerCommand::SetSetting {
                key: format!("app.device_{}", self.index),
                value: unique,
                if_version: None,
            }
        };
        self.player.send_own_command(op, command).await;
    }

    /// Returns a command that equips an item, or buys it if the player does not have it.
    fn shop_command(&mut self) -> PlayerCommand {
        let item = SHOP_ITEMS[self.rng.random_range(0..SHOP_ITEMS.len())].to_owned();
        let state = self.player.own_state();
        if state.is_some_and(|state| state.items.contains(&item)) {
            PlayerCommand::Equip { item }
        } else {
            PlayerCommand::Buy { item }
        }
    }

    /// Waits until the device holds everything up to the head, or for the time limit, and records in
    /// the log what it should hold.
    async fn catch_up(&mut self, head: Seq) {
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        let has_caught_up =
            |player: &Player| player.own_seq() >= head && player.is_watching_own_stream();
        while !has_caught_up(&self.player) && Instant::now() < until {
            self.player.step(Instant::now() + POLL_INTERVAL).await;
        }
        self.player.record_own_settled(head);
    }

    /// Returns a pause between half and one and a half of the mean, so that devices do not act in
    /// lockstep.
    fn jittered_pause(&mut self) -> Duration {
        let mean = 1.0 / self.commands_per_second.max(0.001);
        Duration::from_secs_f64(self.rng.random_range(0.5..1.5) * mean)
    }
}

/// Returns the commands that a device sends once: a player may change their name three times a day,
/// and what decides their day twice a week.
pub(super) fn rare_commands(index: usize, name: &str) -> Vec<PlayerCommand> {
    let day_setting = match index {
        0 => ("zone", json!("Etc/GMT-9")),
        1 => ("day_start_hour", json!(4)),
        _ => return Vec::new(),
    };
    vec![
        PlayerCommand::SetSetting {
            key: day_setting.0.to_owned(),
            value: day_setting.1,
            if_version: None,
        },
        PlayerCommand::SetName {
            name: format!("{name}, {index}"),
        },
    ]
}
