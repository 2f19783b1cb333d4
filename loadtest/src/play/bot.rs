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

use super::Meter;
use super::mind::{FINALE_XP, Mind};
use super::party::{Pace, Stage};
use crate::client::{Player, Rest, Step, Tally};
use crate::ledger::{Ledger, Moment, RunClock};

/// How often a bot looks whether everything has come.
const LOOK: Duration = Duration::from_millis(200);
/// More unanswered commands than this and a player waits.
const UNANSWERED_MAX: usize = 16;
const REJOIN_PATIENCE: Duration = Duration::from_secs(20);
/// How long the last events and presence may take to reach a client once the run is at rest. Presence lags by the
/// server's grace for those who dropped (5 s, or 10 s after a drain).
const REST_PATIENCE: Duration = Duration::from_secs(15);
const LATENCIES_MAX: usize = 200_000;

/// What a bot brings home.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) ledgers: Vec<Ledger>,
    pub(super) tally: Tally,
    /// Microseconds from sending to receiving, of signals.
    pub(super) signals: Vec<u64>,
    /// Commands that it would have liked to send while too many were unanswered.
    pub(super) held_back: u64,
    /// The player's totals over all raids.
    pub(super) profile: Option<Profile>,
}

/// How far the bots of a party have come; each counts itself once.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) watching: AtomicUsize,
    pub(super) complete: AtomicUsize,
    pub(super) quiet: AtomicUsize,
    pub(super) settled: AtomicUsize,
    /// The REST doors with the raid's maker's latest token, once it is quiet.
    pub(super) rest: Mutex<Option<Rest>>,
}

#[derive(Debug)]
pub(super) struct Bot {
    pub(super) player: Player,
    pub(super) raid: RaidId,
    pub(super) invite_code: String,
    pub(super) mind: Mind,
    pub(super) pace: Pace,
    pub(super) rng: SmallRng,
    pub(super) clock: RunClock,
    pub(super) meter: Arc<Meter>,
    pub(super) marks: Arc<Marks>,
    pub(super) stage: watch::Receiver<Stage>,
    /// Whether this one made the raid, and so starts it and holds the task that wins it.
    pub(super) finisher: bool,
    /// Whether it commands and signals, or only watches.
    pub(super) acts: bool,
    /// How many are to be shown online, itself included.
    pub(super) company: usize,
    pub(super) started: bool,
    pub(super) signals: Vec<u64>,
    pub(super) held_back: u64,
}

impl Bot {
    /// Plays until the party is over.
    pub(super) async fn run(mut self) -> Finished {
        self.player.watch(self.raid).await;
        let (mut watching, mut complete, mut profile) = (false, false, None);
        let mut next_command = Instant::now();
        let mut next_signal = Instant::now();
        let (mut finished, mut quiet, mut settled) = (false, false, false);
        loop {
            let stage = self.stage.borrow_and_update().clone();
            let mut wake = Instant::now() + self.pace.look;
            match stage {
                Stage::Gather => {}
                Stage::Play => {
                    self.begin().await;
                    self.rejoin().await;
                    if self.acts {
                        next_command = self.command_when_due(next_command).await;
                        next_signal = self.signal_when_due(next_signal).await;
                        wake = wake.min(next_command).min(next_signal);
                    }
                }
                Stage::Finale => {
                    if self.finisher && !finished {
                        finished = self.win().await;
                    }
                }
                Stage::Quiet => {
                    self.rejoin().await;
                    if !quiet && self.player.unanswered() == 0 && self.here() {
                        quiet = true;
                        if self.finisher {
                            *self.marks.rest.lock() =
                                Some(self.player.rest().with_patience(REST_PATIENCE));
                        }
                        self.marks.quiet.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Stage::Rest { head, online } => {
                    if !settled {
                        profile = self.player.rest().with_patience(LOOK).me().await.ok();
                        self.settle(head, &online).await;
                        settled = true;
                        self.marks.settled.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Stage::Over => break,
            }
            self.step(wake).await;
            if !watching && self.player.watches(self.raid) {
                watching = true;
                self.marks.watching.fetch_add(1, Ordering::Relaxed);
            }
            if !complete
                && self
                    .player
                    .online(self.raid)
                    .is_some_and(|shown| shown.len() == self.company)
            {
                complete = true;
                self.marks.complete.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (ledgers, tally) = self.player.leave().await;
        Finished {
            ledgers,
            tally,
            signals: self.signals,
            held_back: self.held_back,
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
            && self.signals.len() < LATENCIES_MAX
        {
            self.signals.push(self.clock.now().since(Moment(sent)));
        }
    }

    /// The first commands of a raid: its maker starts it and takes the task that will win it.
    async fn begin(&mut self) {
        if !self.finisher || self.started || !self.player.watches(self.raid) {
            return;
        }
        self.started = true;
        self.player.act(self.raid, Command::Start).await;
        let title = format!("The last stand of {}", self.player.who().id);
        self.player
            .act(
                self.raid,
                Command::AddTask {
                    title,
                    xp: FINALE_XP,
                    minutes: 60,
                },
            )
            .await;
        let first = TaskId::try_from(1_u64).expect("1 is an id");
        self.player
            .act(self.raid, Command::ClaimTask { task: first })
            .await;
    }

    /// Completes the task that wins the raid. False: not yet.
    async fn win(&mut self) -> bool {
        let me = self.player.who().id;
        let Some(state) = self.player.state(self.raid) else {
            return false;
        };
        let last = state
            .tasks
            .iter()
            .find(|task| task.xp == FINALE_XP.unsigned_abs());
        let Some(last) = last.filter(|_| state.status == RaidStatus::Active) else {
            return true;
        };
        let command = match last.status {
            TaskStatus::Claimed if last.assignee == Some(me) => {
                Command::CompleteTask { task: last.id }
            }
            _ => return true,
        };
        self.player.act(self.raid, command).await;
        let farewell = self.mind.say();
        self.player.act(self.raid, farewell).await;
        true
    }

    async fn command_when_due(&mut self, due: Instant) -> Instant {
        if due > Instant::now() || self.pace.commands_per_second <= 0.0 {
            return due.max(Instant::now() + Duration::from_millis(1));
        }
        if self.player.unanswered() >= UNANSWERED_MAX {
            self.held_back += 1;
        } else if self.player.watches(self.raid)
            && let Some(state) = self.player.state(self.raid)
            && let Some(command) = self.mind.choose(state)
        {
            self.player.act(self.raid, command).await;
        }
        Instant::now() + self.pause(self.pace.commands_per_second)
    }

    async fn signal_when_due(&mut self, due: Instant) -> Instant {
        if due > Instant::now() || self.pace.signals_per_second <= 0.0 {
            return due.max(Instant::now() + Duration::from_millis(1));
        }
        if self.player.watches(self.raid) {
            let kind = if self.rng.random_ratio(1, 4) {
                "emote"
            } else {
                "cursor"
            };
            self.player.signal(self.raid, kind).await;
        }
        Instant::now() + self.pause(self.pace.signals_per_second)
    }

    /// Between half and one and a half of the mean, so that players don't march in step.
    fn pause(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(0.5..1.5) / per_second)
    }

    /// One who left comes back by the invite code; one who cannot, because the raid has ended, stays away.
    async fn rejoin(&mut self) {
        if self.player.watch_ended(self.raid) && self.player.unanswered() == 0 {
            let rest = self.player.rest().with_patience(REJOIN_PATIENCE);
            match rest.join(&self.invite_code).await {
                Ok(_) => self.player.watch(self.raid).await,
                Err(_) => self.player.forget(self.raid),
            }
        }
    }

    /// Whether the bot is where it should be: watching, or away for good.
    fn here(&self) -> bool {
        self.player.watches(self.raid) || self.player.forgotten(self.raid)
    }

    /// Waits until everything has come, or has had its time, and then tells the ledger what should have come.
    async fn settle(&mut self, head: Seq, online: &[PlayerId]) {
        let until = Instant::now() + REST_PATIENCE;
        while !self.at_rest(head, online) && Instant::now() < until {
            self.step(Instant::now() + LOOK).await;
        }
        self.player.settle(self.raid, head, online.to_vec());
    }

    fn at_rest(&self, head: Seq, online: &[PlayerId]) -> bool {
        let shown = self.player.online(self.raid);
        self.player.forgotten(self.raid)
            || self.player.seq(self.raid) >= head
                && shown.is_some_and(|shown| shown.iter().eq(online.iter()))
                && self.player.watches(self.raid)
    }
}
