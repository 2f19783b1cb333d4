//! A bot: a task that steps its player and sends commands and signals at its pace until the group's
//! run is finished.

mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::state::{RaidStatus, TaskStatus};
use raidhall_protocol::{Command, EventData, PlayerId, RaidId, Seq, ServerMessage, TaskId};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TrafficCounters;
use super::absences::AbsenceSchedule;
use super::bot_group::{BotPace, GroupStage};
use super::command_generator::{CommandGenerator, FINAL_TASK_XP};
use super::reader::Creation;
use crate::client::{ClientCounts, Player, RestClient, Step};
use crate::client_log::{ClientLog, Moment, Observation, RunClock};

/// Interval between checks whether everything has been received.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Number of unanswered commands at which a bot stops sending more.
const UNANSWERED_MAX: usize = 16;
/// How long the last events and presence changes may take to reach a client once the run settles.
/// Presence lags by the server's grace for players who lost their connection (5 s, or 10 s after a
/// drain).
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15);
const SIGNAL_LATENCIES_MAX: usize = 200_000;

/// What a bot returns when the run is finished.
#[derive(Debug)]
pub(super) struct BotResult {
    pub(super) ledgers: Vec<ClientLog>,
    pub(super) tally: ClientCounts,
    /// Microseconds from sending a signal to receiving it.
    pub(super) signal_latencies_micros: Vec<u64>,
    /// Commands not sent because too many were unanswered.
    pub(super) commands_held_back: u64,
    /// The player's totals over all raids, if they could be read.
    pub(super) profile: Option<Profile>,
}

/// How many bots of a group have reached each point; every bot counts itself once per point.
#[derive(Debug, Default)]
pub(super) struct GroupProgress {
    pub(super) watching: AtomicUsize,
    pub(super) fully_online: AtomicUsize,
    pub(super) idle: AtomicUsize,
    pub(super) settled: AtomicUsize,
    /// The newest invite code that any bot has seen, and its seq.
    pub(super) invite_code: Mutex<(Seq, String)>,
    /// The REST client with the creator's latest token, once the creator's commands are answered.
    pub(super) rest: Mutex<Option<RestClient>>,
}

impl GroupProgress {
    /// Keeps the invite code of a message that has one, if it is the newest.
    fn note_invite_code(&self, message: &ServerMessage) {
        let (seq, code) = match message {
            ServerMessage::Snapshot { seq, state, .. } => (*seq, &state.invite_code),
            ServerMessage::Event { event, .. } => match &event.data {
                EventData::InviteRotated { invite_code } => (event.seq, invite_code),
                _ => return,
            },
            _ => return,
        };
        let mut newest = self.invite_code.lock();
        if newest.0 < seq {
            *newest = (seq, code.clone());
        }
    }
}

#[derive(Debug)]
pub(super) struct Bot {
    pub(super) player: Player,
    pub(super) raid: RaidId,
    pub(super) commands: CommandGenerator,
    pub(super) pace: BotPace,
    /// When the player goes away while the group plays, if ever.
    pub(super) absences: Option<AbsenceSchedule>,
    pub(super) rng: SmallRng,
    pub(super) clock: RunClock,
    pub(super) meter: Arc<TrafficCounters>,
    pub(super) progress: Arc<GroupProgress>,
    pub(super) stage: watch::Receiver<GroupStage>,
    /// Whether the bot created the raid; it then starts the raid and holds the task that wins it.
    pub(super) is_leader: bool,
    /// The creation of the raid, if the bot made it.
    pub(super) creation: Option<Creation>,
    /// Whether the bot, if it leads the raid, cancels it at the end.
    pub(super) cancels_at_end: bool,
    /// Whether the bot sends commands and signals, or only watches.
    pub(super) is_active: bool,
    /// Whether the bot sends copies of commands by REST.
    pub(super) sends_copies: bool,
    /// Whether the bot watches again now and then for no good reason.
    pub(super) has_odd_watches: bool,
    /// How many players should be shown online, this bot's included.
    pub(super) group_size: usize,
    pub(super) is_started: bool,
    /// The requests by REST in flight.
    pub(super) reads: JoinSet<Vec<Observation>>,
    pub(super) signal_latencies_micros: Vec<u64>,
    pub(super) commands_held_back: u64,
}

impl Bot {
    /// Plays until the group's run is finished.
    pub(super) async fn run(mut self) -> BotResult {
        self.player.watch(self.raid).await;
        let mut watching = false;
        let mut complete = false;
        let mut profile = None;
        let mut next_command = Instant::now();
        let mut next_signal = Instant::now();
        let mut next_read = Instant::now();
        let mut final_task_done = false;
        let mut idle = false;
        let mut settled = false;
        loop {
            let stage = self.stage.borrow_and_update().clone();
            let mut wake = Instant::now() + self.pace.poll_interval;
            if !matches!(stage, GroupStage::Play) {
                self.player.come_back();
            }
            match stage {
                GroupStage::Connect => {}
                GroupStage::Play => {
                    self.start_raid().await;
                    self.rejoin().await;
                    self.go_away_when_due().await;
                    if self.is_active {
                        next_command = self.command_when_due(next_command).await;
                        next_signal = self.signal_when_due(next_signal).await;
                        next_read = self.read_when_due(next_read);
                        wake = wake.min(next_command).min(next_signal).min(next_read);
                    }
                }
                GroupStage::CompleteFinalTask => {
                    if self.is_leader && !final_task_done {
                        final_task_done = self.complete_final_task().await;
                        if final_task_done && self.cancels_at_end {
                            self.cancel_raid().await;
                        }
                    }
                }
                GroupStage::AwaitReplies => {
                    self.rejoin().await;
                    let is_answered = self.player.pending_count() == 0 && self.reads.is_empty();
                    if !idle && is_answered && self.is_watching_or_gone() {
                        idle = true;
                        if self.is_leader {
                            *self.progress.rest.lock() =
                                Some(self.player.rest().with_retry_timeout(CATCH_UP_TIMEOUT));
                        }
                        self.progress.idle.fetch_add(1, Ordering::Relaxed);
                    }
                }
                GroupStage::CatchUp { head, online } => {
                    if !settled {
                        self.wait_until_caught_up(head, &online).await;
                        profile = self.read_profile().await;
                        settled = true;
                        self.progress.settled.fetch_add(1, Ordering::Relaxed);
                    }
                }
                GroupStage::Finished => break,
            }
            self.step(wake).await;
            self.record_reads();
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
        let message = match self.player.step(deadline).await {
            Step::Message(message) => message,
            Step::Disconnected => return self.stay_away_perhaps().await,
            _ => return,
        };
        self.meter.count(&message);
        self.progress.note_invite_code(&message);
        if let ServerMessage::Signal { data, .. } = &*message
            && let Some(sent) = data["us"].as_u64()
            && self.signal_latencies_micros.len() < SIGNAL_LATENCIES_MAX
        {
            self.signal_latencies_micros
                .push(self.clock.now().since(Moment(sent)));
        }
    }

    /// Ends the connection for a while if an absence is due, with a close frame or without one.
    async fn go_away_when_due(&mut self) {
        let is_watching = self.player.is_watching(self.raid);
        let Some(absences) = self.absences.as_mut().filter(|_| is_watching) else {
            return;
        };
        if let Some(time) = absences.take_due() {
            let says_farewell = absences.draw_farewell();
            self.player.go_away(time, says_farewell).await;
        }
    }

    /// Does not reconnect for a while, now and then, after a connection was lost during the game.
    async fn stay_away_perhaps(&mut self) {
        let is_playing = matches!(*self.stage.borrow(), GroupStage::Play);
        let absences = self.absences.as_mut().filter(|_| is_playing);
        if let Some(time) = absences.and_then(AbsenceSchedule::draw_after_loss) {
            self.player.go_away(time, false).await;
        }
    }

    /// Sends the first commands of a raid: its creator starts it, and adds and claims the task that
    /// will win it.
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

    /// Completes the task that wins the raid. Returns false while the bot holds no state yet.
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

    async fn cancel_raid(&mut self) {
        let me = self.player.player_ref().id;
        let state = self.player.state(self.raid);
        if state.is_some_and(|state| state.leader == Some(me)) {
            self.player.send_command(self.raid, Command::Cancel).await;
        }
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
            self.watch_oddly(&command).await;
            self.send_command(command).await;
        }
        Instant::now() + self.jittered_pause(self.pace.commands_per_second)
    }

    /// Watches again now and then: from a seq that the raid does not have, or so that the player has
    /// left by the time of the answer.
    async fn watch_oddly(&mut self, command: &Command) {
        if !self.has_odd_watches {
            return;
        }
        if matches!(command, Command::Leave) && self.rng.random() {
            self.player.watch(self.raid).await;
        } else if self.rng.random_ratio(1, 100) {
            self.player.watch_ahead(self.raid).await;
        }
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

    /// Returns a pause between half and one and a half of the mean, so that bots do not act in
    /// lockstep.
    fn jittered_pause(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(0.5..1.5) / per_second)
    }

    /// Returns whether the bot is where it should be: watching, or gone for good.
    fn is_watching_or_gone(&self) -> bool {
        self.player.is_watching(self.raid) || self.player.is_abandoned(self.raid)
    }

    /// Waits until everything has been received, or for the time limit, and then records in the
    /// client log what should have been received.
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
