//! One simulated player at play: a task that steps its client and acts at its pace until the party is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::state::{RaidStatus, TaskStatus};
use raidhall_protocol::{Command, PlayerId, RaidId, Seq, ServerMessage, TaskId};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::TrafficCounters;
use super::bot_group::{BotPace, GroupStage};
use super::command_generator::{CommandGenerator, FINAL_TASK_XP};
use crate::client::{ClientCounts, Player, RestClient, Step};
use crate::client_log::{ClientLog, Moment, RunClock};

/// How often a bot looks whether everything has come.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// More unanswered commands than this and a player waits.
const UNANSWERED_MAX: usize = 16;
const REJOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the last events and presence may take to reach a client once the run is at rest. Presence lags by the
/// server's grace for those who dropped (5 s, or 10 s after a drain).
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15);
const SIGNAL_LATENCIES_MAX: usize = 200_000;

/// What a bot brings home.
#[derive(Debug)]
pub(super) struct BotResult {
    pub(super) ledgers: Vec<ClientLog>,
    pub(super) tally: ClientCounts,
    /// Microseconds from sending to receiving, of signals.
    pub(super) signal_latencies_micros: Vec<u64>,
    /// Commands that it would have liked to send while too many were unanswered.
    pub(super) commands_held_back: u64,
    /// The player's totals over all raids.
    pub(super) profile: Option<Profile>,
}

/// How far the bots of a party have come; each counts itself once.
#[derive(Debug, Default)]
pub(super) struct GroupProgress {
    pub(super) watching: AtomicUsize,
    pub(super) fully_online: AtomicUsize,
    pub(super) quiet: AtomicUsize,
    pub(super) settled: AtomicUsize,
    /// The REST doors with the raid's maker's latest token, once it is quiet.
    pub(super) rest: Mutex<Option<RestClient>>,
}

#[derive(Debug)]
pub(super) struct Bot {
    pub(super) player: Player,
    pub(super) raid: RaidId,
    pub(super) invite_code: String,
    pub(super) commands: CommandGenerator,
    pub(super) pace: BotPace,
    pub(super) rng: SmallRng,
    pub(super) clock: RunClock,
    pub(super) meter: Arc<TrafficCounters>,
    pub(super) progress: Arc<GroupProgress>,
    pub(super) stage: watch::Receiver<GroupStage>,
    /// Whether this one made the raid, and so starts it and holds the task that wins it.
    pub(super) is_leader: bool,
    /// Whether it commands and signals, or only watches.
    pub(super) is_active: bool,
    /// How many are to be shown online, itself included.
    pub(super) group_size: usize,
    pub(super) is_started: bool,
    pub(super) signal_latencies_micros: Vec<u64>,
    pub(super) commands_held_back: u64,
}

impl Bot {
    /// Plays until the party is over.
    pub(super) async fn run(mut self) -> BotResult {
        self.player.watch(self.raid).await;
        let (mut watching, mut complete, mut profile) = (false, false, None);
        let mut next_command = Instant::now();
        let mut next_signal = Instant::now();
        let (mut finished, mut quiet, mut settled) = (false, false, false);
        loop {
            let stage = self.stage.borrow_and_update().clone();
            let mut wake = Instant::now() + self.pace.poll_interval;
            match stage {
                GroupStage::Connect => {}
                GroupStage::Play => {
                    self.start_raid().await;
                    self.rejoin().await;
                    if self.is_active {
                        next_command = self.command_when_due(next_command).await;
                        next_signal = self.signal_when_due(next_signal).await;
                        wake = wake.min(next_command).min(next_signal);
                    }
                }
                GroupStage::CompleteFinalTask => {
                    if self.is_leader && !finished {
                        finished = self.complete_final_task().await;
                    }
                }
                GroupStage::AwaitReplies => {
                    self.rejoin().await;
                    if !quiet && self.player.pending_count() == 0 && self.is_watching_or_gone() {
                        quiet = true;
                        if self.is_leader {
                            *self.progress.rest.lock() =
                                Some(self.player.rest().with_retry_timeout(CATCH_UP_TIMEOUT));
                        }
                        self.progress.quiet.fetch_add(1, Ordering::Relaxed);
                    }
                }
                GroupStage::CatchUp { head, online } => {
                    if !settled {
                        profile = self
                            .player
                            .rest()
                            .with_retry_timeout(POLL_INTERVAL)
                            .profile()
                            .await
                            .ok();
                        self.wait_until_caught_up(head, &online).await;
                        settled = true;
                        self.progress.settled.fetch_add(1, Ordering::Relaxed);
                    }
                }
                GroupStage::Finished => break,
            }
            self.step(wake).await;
            if !watching && self.player.is_watching(self.raid) {
                watching = true;
                self.progress.watching.fetch_add(1, Ordering::Relaxed);
            }
            if !complete
                && self
                    .player
                    .online(self.raid)
                    .is_some_and(|shown| shown.len() == self.group_size)
            {
                complete = true;
                self.progress.fully_online.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (ledgers, tally) = self.player.disconnect().await;
        BotResult {
            ledgers,
            tally,
            signal_latencies_micros: self.signal_latencies_micros,
            commands_held_back: self.commands_held_back,
            profile,
        }
    }

    async fn step(&mut self, deadline: Instant) {
        let Step::Message(message) = self.player.step(deadline).await else {
            return;
        };
        self.meter.count(&message);
        if let ServerMessage::Signal { data, .. } = &*message
            && let Some(sent) = data["us"].as_u64()
            && self.signal_latencies_micros.len() < SIGNAL_LATENCIES_MAX
        {
            self.signal_latencies_micros
                .push(self.clock.now().since(Moment(sent)));
        }
    }

    /// The first commands of a raid: its maker starts it and takes the task that will win it.
    async fn start_raid(&mut self) {
        if !self.is_leader || self.is_started || !self.player.is_watching(self.raid) {
            return;
        }
        self.is_started = true;
        self.player.send_command(self.raid, Command::Start).await;
        let title = format!("The last stand of {}", self.player.player_ref().id);
        self.player
            .send_command(
                self.raid,
                Command::AddTask {
                    title,
                    xp: FINAL_TASK_XP,
                    minutes: 60,
                },
            )
            .await;
        let first = TaskId::try_from(1_u64).expect("1 is an id");
        self.player
            .send_command(self.raid, Command::ClaimTask { task: first })
            .await;
    }

    /// Completes the task that wins the raid. False: not yet.
    async fn complete_final_task(&mut self) -> bool {
        let me = self.player.player_ref().id;
        let Some(state) = self.player.state(self.raid) else {
            return false;
        };
        let last = state
            .tasks
            .iter()
            .find(|task| task.xp == FINAL_TASK_XP.unsigned_abs());
        let Some(last) = last.filter(|_| state.status == RaidStatus::Active) else {
            return true;
        };
        let command = match last.status {
            TaskStatus::Claimed if last.assignee == Some(me) => {
                Command::CompleteTask { task: last.id }
            }
            _ => return true,
        };
        self.player.send_command(self.raid, command).await;
        let farewell = self.commands.chat_command();
        self.player.send_command(self.raid, farewell).await;
        true
    }

    async fn command_when_due(&mut self, due: Instant) -> Instant {
        if due > Instant::now() || self.pace.commands_per_second <= 0.0 {
            return due.max(Instant::now() + Duration::from_millis(1));
        }
        if self.player.pending_count() >= UNANSWERED_MAX {
            self.commands_held_back += 1;
        } else if self.player.is_watching(self.raid)
            && let Some(state) = self.player.state(self.raid)
            && let Some(command) = self.commands.next_command(state)
        {
            self.player.send_command(self.raid, command).await;
        }
        Instant::now() + self.jittered_pause(self.pace.commands_per_second)
    }

    async fn signal_when_due(&mut self, due: Instant) -> Instant {
        if due > Instant::now() || self.pace.signals_per_second <= 0.0 {
            return due.max(Instant::now() + Duration::from_millis(1));
        }
        if self.player.is_watching(self.raid) {
            let kind = if self.rng.random_ratio(1, 4) {
                "emote"
            } else {
                "cursor"
            };
            self.player.send_signal(self.raid, kind).await;
        }
        Instant::now() + self.jittered_pause(self.pace.signals_per_second)
    }

    /// Between half and one and a half of the mean, so that players don't march in step.
    fn jittered_pause(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(0.5..1.5) / per_second)
    }

    /// One who left comes back by the invite code; one who cannot, because the raid has ended, stays away.
    async fn rejoin(&mut self) {
        if self.player.has_watch_ended(self.raid) && self.player.pending_count() == 0 {
            let rest = self.player.rest().with_retry_timeout(REJOIN_TIMEOUT);
            match rest.join_raid(&self.invite_code).await {
                Ok(_) => self.player.watch(self.raid).await,
                Err(_) => self.player.abandon(self.raid),
            }
        }
    }

    /// Whether the bot is where it should be: watching, or away for good.
    fn is_watching_or_gone(&self) -> bool {
        self.player.is_watching(self.raid) || self.player.is_abandoned(self.raid)
    }

    /// Waits until everything has come, or has had its time, and then tells the ledger what should have come.
    async fn wait_until_caught_up(&mut self, head: Seq, online: &[PlayerId]) {
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        while !self.is_caught_up(head, online) && Instant::now() < until {
            self.step(Instant::now() + POLL_INTERVAL).await;
        }
        self.player.record_settled(self.raid, head, online.to_vec());
    }

    fn is_caught_up(&self, head: Seq, online: &[PlayerId]) -> bool {
        let shown = self.player.online(self.raid);
        self.player.is_abandoned(self.raid)
            || self.player.seq(self.raid) >= head
                && shown.is_some_and(|shown| shown.iter().eq(online.iter()))
                && self.player.is_watching(self.raid)
    }
}
