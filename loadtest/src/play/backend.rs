//! The host app's backend: adds the tasks of ranked raids, and credits players with contributions at
//! a steady rate, each exactly once whatever happens to the servers.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{Command, PlayerId, RaidId};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{ClientCounts, Player, PlayerOptions};
use crate::client_log::ClientLog;

/// Number of unanswered commands at which a connection sends no more.
const UNANSWERED_MAX: usize = 256;
/// How often a ranked raid gets a task.
const TASK_INTERVAL: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long answers may take after the last command.
const REPLIES_TIMEOUT: Duration = Duration::from_secs(45);
/// Kinds of contributions: one for each skill, and one that trains none.
const CONTRIBUTION_KINDS: [&str; 5] = ["habit", "workout", "study", "focus", "load"];
const CONTRIBUTION_XP_MAX: i64 = 10;
const TASK_XP_MAX: i64 = 400;

/// What the backend does to the raids of a run.
#[derive(Debug, Clone)]
pub struct BackendPlan {
    /// The raids that get contributions, each with its players.
    pub credited_raids: Vec<(RaidId, Vec<PlayerId>)>,
    /// The raids that get tasks.
    pub ranked_raids: Vec<RaidId>,
    /// Contributions per second of one connection.
    pub contributions_per_second: f64,
}

/// The running connections of the backend.
#[derive(Debug)]
pub struct Backend {
    has_ended: watch::Sender<bool>,
    connections: JoinSet<BackendResult>,
}

/// The logs of one connection of the backend, one for each raid, and its counters.
pub type BackendResult = (Vec<ClientLog>, ClientCounts);

struct BackendBot {
    player: Player,
    plan: Arc<BackendPlan>,
    rng: SmallRng,
    adds_tasks: bool,
    tasks_added: usize,
}

impl Backend {
    /// Starts one connection for each of the options. The first one adds the tasks.
    pub fn start(plan: BackendPlan, options: Vec<PlayerOptions>) -> Backend {
        let has_ended = watch::Sender::new(false);
        let mut connections = JoinSet::new();
        let plan = Arc::new(plan);
        for (index, options) in options.into_iter().enumerate() {
            let bot = BackendBot {
                rng: SmallRng::seed_from_u64(options.jitter_seed ^ 7),
                player: Player::new(options),
                plan: Arc::clone(&plan),
                adds_tasks: index == 0,
                tasks_added: 0,
            };
            connections.spawn(bot.run(has_ended.subscribe()));
        }
        Backend {
            has_ended,
            connections,
        }
    }

    /// Stops sending, and waits until everything is answered or the time limit has passed.
    pub async fn stop(self) -> Vec<BackendResult> {
        self.has_ended.send_replace(true);
        self.connections.join_all().await
    }
}

impl BackendBot {
    async fn run(mut self, has_ended: watch::Receiver<bool>) -> BackendResult {
        let mut replies_until = None;
        let mut next_contribution = Instant::now();
        let mut next_task = Instant::now();
        loop {
            let is_playing = !*has_ended.borrow();
            if !is_playing {
                let until = *replies_until.get_or_insert(Instant::now() + REPLIES_TIMEOUT);
                if self.player.pending_count() == 0 || until <= Instant::now() {
                    break;
                }
            }
            let mut wake = Instant::now() + POLL_INTERVAL;
            if is_playing && self.plan.contributions_per_second > 0.0 {
                next_contribution = self.contribute_when_due(next_contribution).await;
                wake = wake.min(next_contribution);
            }
            if is_playing && self.adds_tasks && next_task <= Instant::now() {
                self.add_tasks().await;
                next_task = Instant::now() + TASK_INTERVAL;
            }
            self.player.step(wake).await;
        }
        self.player.disconnect().await
    }

    /// Sends a contribution if one is due, and returns when the next one is. After a pause of the
    /// servers, what was missed is not made up for.
    async fn contribute_when_due(&mut self, due: Instant) -> Instant {
        let now = Instant::now();
        if due > now {
            return due;
        }
        let raid = self.plan.credited_raids.choose(&mut self.rng);
        if let Some((raid, players)) = raid.cloned()
            && let Some(player) = players.choose(&mut self.rng)
            && self.player.pending_count() < UNANSWERED_MAX
        {
            let kind = self.rng.random_range(0..CONTRIBUTION_KINDS.len());
            let contribution = Command::Contribute {
                player: *player,
                xp: self.rng.random_range(1..=CONTRIBUTION_XP_MAX),
                kind: CONTRIBUTION_KINDS[kind].to_owned(),
                note: None,
            };
            self.player.send_command(raid, contribution).await;
        }
        let pause = Duration::from_secs_f64(1.0 / self.plan.contributions_per_second);
        (due + pause).max(now - POLL_INTERVAL)
    }

    async fn add_tasks(&mut self) {
        let plan = Arc::clone(&self.plan);
        for raid in &plan.ranked_raids {
            self.tasks_added += 1;
            let task = Command::AddTask {
                title: format!("Task {} of the backend", self.tasks_added),
                xp: self.rng.random_range(1..=TASK_XP_MAX),
                minutes: 25,
            };
            self.player.send_command(*raid, task).await;
        }
    }
}
