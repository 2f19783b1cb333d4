//! A bot group: the simulated players of one raid, how they come together, and how they settle so
//! that they can be judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::rest::{NewRaid, RaidView, TokenPair};
use raidhall_protocol::{Codec, OpKey, PlayerId, RaidId, Seq};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::absences::AbsenceSchedule;
use super::bot::{Bot, BotResult, GroupProgress};
use super::other_players::{ClientFactory, OtherPlayers, OtherTokens, RunningOthers};
use super::reader::Creation;
use super::visitor::VisitorRecord;
use super::{CommandGenerator, TrafficCounters};
use crate::client::{ClientCounts, Decoder, Player, RestClient};
use crate::client_log::{ClientLog, RunClock};
use crate::judge::ServerRecord;

const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long replies may take after the last request.
const REPLIES_TIMEOUT: Duration = Duration::from_secs(45);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a bot acts.
#[derive(Debug, Clone, Copy)]
pub struct BotPace {
    pub commands_per_second: f64,
    pub signals_per_second: f64,
    /// How often the bot sends requests by REST while it plays: reads, and repeats of what it has
    /// sent before.
    pub reads_per_second: f64,
    /// Interval at which an idle bot checks the group's stage.
    pub poll_interval: Duration,
}

/// What bots do now and then besides playing.
#[derive(Debug, Clone, Copy, Default)]
pub struct BotHabits {
    /// Whether players leave the raid now and then and rejoin.
    pub may_leave: bool,
    /// Whether leaders kick and mute members and replace the invite code now and then.
    pub may_moderate: bool,
    /// Whether players send some commands to another server too, by REST and with the same op.
    pub sends_copies: bool,
    /// Whether players watch again now and then while they watch: before they leave, and from a seq
    /// that the raid does not have.
    pub has_odd_watches: bool,
    /// Whether players go away now and then and reconnect later.
    pub may_go_away: bool,
}

/// The plan of a bot group: its size, its seed and its behaviour.
#[derive(Debug, Clone)]
pub struct GroupPlan {
    /// The group's index within the run.
    pub index: usize,
    pub players: usize,
    /// The codecs, used in turn.
    pub codecs: &'static [Codec],
    /// The seed of everything random in the group.
    pub seed: u64,
    pub pace: BotPace,
    /// Whether the final task wins the raid, or the goal is out of reach.
    pub is_winnable: bool,
    /// The raid's time limit, if it is not the server's default.
    pub time_limit: Option<Duration>,
    pub habits: BotHabits,
    /// How many players act, counted from the first; the others only watch.
    pub active_players: usize,
    pub others: OtherPlayers,
}

/// The players of a raid who have signed in already, and what sets the raid apart from others.
#[derive(Debug, Default)]
pub struct RaidSetup {
    /// The tokens of the players, those of the raid's creator first.
    pub tokens: Vec<TokenPair>,
    /// The token that creates the raid as a ranked one: the creator's, with the rights of the host
    /// app's backend.
    pub ranking_token: Option<String>,
    /// Whether the creator cancels the raid at the end, if they still lead it.
    pub is_cancelled_at_end: bool,
}

/// A stage of a group's run, which its bots follow.
#[derive(Debug, Clone)]
pub(super) enum GroupStage {
    /// Connect and watch the raid.
    Connect,
    /// Send commands and signals.
    Play,
    /// Complete the final task, where that wins the raid.
    CompleteFinalTask,
    /// Send nothing more, and wait for the replies.
    AwaitReplies,
    /// Wait for all events up to `head`, and to be shown these players online.
    CatchUp { head: Seq, online: Vec<PlayerId> },
    /// Disconnect and return the result.
    Finished,
}

/// The players of one raid, and their running tasks.
#[derive(Debug)]
pub struct BotGroup {
    plan: GroupPlan,
    raid: RaidId,
    creation: Creation,
    setup: RaidSetup,
    other_tokens: OtherTokens,
    stage: watch::Sender<GroupStage>,
    progress: Arc<GroupProgress>,
    bots: JoinSet<BotResult>,
    others: RunningOthers,
}

/// What a bot group returns when its run is finished.
#[derive(Debug)]
pub struct GroupOutcome {
    pub raid: RaidId,
    /// One client log per player.
    pub ledgers: Vec<ClientLog>,
    pub server_record: ServerRecord,
    /// The raid as each instance shows it after the run, or why it does not.
    pub views: Vec<Result<RaidView, String>>,
    /// The log of the player who is no member, if there is one.
    pub outsider_log: Option<ClientLog>,
    /// The record of the player who was banned or erased, if there is one.
    pub visitor: Option<VisitorRecord>,
    /// The WebSocket URL of the raid's owner, as the server reports it.
    pub ws_url: String,
    /// The counters of each player.
    pub counts: Vec<ClientCounts>,
    /// Microseconds from sending a signal to receiving it.
    pub signal_latencies_micros: Vec<u64>,
    /// Commands not sent because too many were unanswered.
    pub commands_held_back: u64,
}

impl BotGroup {
    /// Signs the players in; the first creates the raid, the others join by its invite code. No
    /// client is connected yet. With several servers the players have different homes in turn,
    /// beginning at the server of the group's index.
    pub async fn create(rest: &RestClient, plan: GroupPlan) -> anyhow::Result<BotGroup> {
        let rest = rest.with_retry_timeout(CREATE_TIMEOUT);
        let mut tokens = Vec::with_capacity(plan.players);
        for index in 0..plan.players {
            let name = format!("Player {index} of group {}", plan.index);
            let rest = rest.with_home(plan.index + index);
            tokens.push(rest.sign_in_guest(&name).await.context("sign a guest in")?);
        }
        let setup = RaidSetup {
            tokens,
            ..RaidSetup::default()
        };
        Self::create_for(&rest, plan, setup).await
    }

    /// Does the same as [`Self::create`] for players who have signed in already.
    pub async fn create_for(
        rest: &RestClient,
        plan: GroupPlan,
        setup: RaidSetup,
    ) -> anyhow::Result<BotGroup> {
        let rest = rest.with_retry_timeout(CREATE_TIMEOUT);
        let tokens = &setup.tokens;
        let first = tokens.first().context("a bot group needs players")?;
        let key = OpKey::try_from(format!("create-{}-{}", first.player.id, plan.seed))?;
        let token = setup.ranking_token.as_ref().unwrap_or(&first.access_token);
        let home = rest.with_home(plan.index).with_token(token);
        let mut raid = new_raid(&plan);
        raid.ranked = setup.ranking_token.is_some().then_some(true);
        let creation = Creation { raid, key };
        let made = home
            .create_raid(&creation.raid, Some(&creation.key))
            .await?;
        for (index, pair) in tokens.iter().enumerate().skip(1) {
            let home = rest
                .with_home(plan.index + index)
                .with_token(&pair.access_token);
            let joined = home.join_raid(&made.state.invite_code).await?;
            anyhow::ensure!(
                joined.state.id == made.state.id,
                "the invite code led to another raid"
            );
        }
        let other_tokens = OtherTokens::sign_in(&rest, &plan, &made).await?;
        let stage = watch::Sender::new(GroupStage::Connect);
        let progress = Arc::<GroupProgress>::default();
        *progress.invite_code.lock() = (made.seq, made.state.invite_code);
        Ok(BotGroup {
            plan,
            raid: made.state.id,
            creation,
            setup,
            other_tokens,
            stage,
            progress,
            bots: JoinSet::new(),
            others: RunningOthers::default(),
        })
    }

    /// Starts to connect every client of the group, and returns at once.
    pub fn connect(&mut self, rest: &RestClient, clock: RunClock, meter: &Arc<TrafficCounters>) {
        let clients = ClientFactory {
            plan: &self.plan,
            rest,
            clock,
            decoder: Decoder::new(),
        };
        let tokens = &self.other_tokens;
        self.others =
            RunningOthers::start(tokens, &clients, self.raid, &self.progress, &self.stage);
        for (index, tokens) in self.setup.tokens.iter().enumerate() {
            let options = clients.options(index, tokens);
            let seed = options.jitter_seed;
            let me = tokens.player.id;
            let is_leader = index == 0;
            let has_others = self.plan.players > 2;
            let may_leave = self.plan.habits.may_leave && !is_leader && has_others;
            let may_moderate = self.plan.habits.may_moderate && has_others;
            let commands_rng = SmallRng::seed_from_u64(seed ^ 1);
            let bot = Bot {
                player: Player::new(options),
                raid: self.raid,
                commands: CommandGenerator::new(
                    commands_rng,
                    me,
                    self.plan.is_winnable,
                    may_leave,
                    may_moderate,
                ),
                pace: self.plan.pace,
                absences: (self.plan.habits.may_go_away)
                    .then(|| AbsenceSchedule::new(SmallRng::seed_from_u64(seed ^ 4))),
                rng: SmallRng::seed_from_u64(seed ^ 2),
                clock,
                meter: Arc::clone(meter),
                progress: Arc::clone(&self.progress),
                stage: self.stage.subscribe(),
                is_leader,
                creation: is_leader.then(|| self.creation.clone()),
                cancels_at_end: self.setup.is_cancelled_at_end,
                sends_copies: self.plan.habits.sends_copies,
                has_odd_watches: self.plan.habits.has_odd_watches,
                is_active: index < self.plan.active_players,
                group_size: self.plan.players,
                is_started: false,
                reads: JoinSet::new(),
                signal_latencies_micros: Vec::new(),
                commands_held_back: 0,
            };
            self.bots.spawn(bot.run());
        }
    }

    pub const fn raid(&self) -> RaidId {
        self.raid
    }

    pub fn players(&self) -> Vec<PlayerId> {
        let tokens = self.setup.tokens.iter();
        tokens.map(|tokens| tokens.player.id).collect()
    }

    pub const fn is_ranked(&self) -> bool {
        self.setup.ranking_token.is_some()
    }

    pub const fn is_winnable(&self) -> bool {
        self.plan.is_winnable
    }

    /// Returns how many players have watched the raid at least once.
    pub fn watching_count(&self) -> usize {
        self.progress.watching.load(Ordering::Relaxed)
    }

    /// Returns how many players were shown the whole group online at least once.
    pub fn fully_online_count(&self) -> usize {
        self.progress.fully_online.load(Ordering::Relaxed)
    }

    pub fn player_count(&self) -> usize {
        self.plan.players
    }

    /// Lets the bots send commands and signals.
    pub fn start_playing(&self) {
        self.stage.send_replace(GroupStage::Play);
    }

    /// Lets the creator complete the final task, where that wins the raid.
    pub fn complete_final_task(&self) {
        self.stage.send_replace(GroupStage::CompleteFinalTask);
    }

    /// Waits until all replies and events have been received or the time limits have passed, reads
    /// the server record, and disconnects the clients.
    pub async fn settle(mut self) -> anyhow::Result<GroupOutcome> {
        self.stage.send_replace(GroupStage::AwaitReplies);
        self.wait_for(&self.progress.idle, REPLIES_TIMEOUT).await;
        let rest = self.progress.rest.lock().clone();
        let rest = match rest {
            Some(rest) => rest,
            None => anyhow::bail!(
                "raid {}: its creator was not answered within {REPLIES_TIMEOUT:?}",
                self.raid
            ),
        };
        let view = rest.raid(self.raid).await?;
        let ours = self.players();
        let mut online: Vec<_> = view
            .state
            .members
            .iter()
            .map(|member| member.player)
            .filter(|player| ours.contains(player))
            .collect();
        online.sort_unstable();
        self.stage.send_replace(GroupStage::CatchUp {
            head: view.seq,
            online,
        });
        self.wait_for(&self.progress.settled, CATCH_UP_TIMEOUT)
            .await;
        let mut views = Vec::new();
        for server in 0..rest.targets().count() {
            let view = rest.only(server).raid(self.raid).await;
            views.push(view.map_err(|error| error.to_string()));
        }
        let settled = rest.raid(self.raid).await?;
        self.stage.send_replace(GroupStage::Finished);
        let mut finished = Vec::new();
        while let Some(result) = self.bots.join_next().await {
            finished.push(result.context("a player's task")?);
        }
        // By now no client receives events any more, so that the ledger has what they all received.
        let server_record = read_server_record(&rest, settled).await?;
        let mut outcome = GroupOutcome {
            raid: self.raid,
            ledgers: Vec::new(),
            server_record,
            views,
            outsider_log: None,
            visitor: None,
            ws_url: view.ws_url,
            counts: Vec::new(),
            signal_latencies_micros: Vec::new(),
            commands_held_back: 0,
        };
        for finished in finished {
            outcome.ledgers.extend(finished.ledgers);
            outcome.counts.push(finished.tally);
            outcome
                .signal_latencies_micros
                .extend(finished.signal_latencies_micros);
            outcome.commands_held_back += finished.commands_held_back;
            outcome.server_record.profiles.extend(finished.profile);
        }
        self.others.finish(&mut outcome).await?;
        Ok(outcome)
    }

    /// Waits until all bots have reached a point, or for the time limit; the judge reports what is
    /// missing then.
    async fn wait_for(&self, mark: &AtomicUsize, patience: Duration) {
        let until = Instant::now() + patience;
        while mark.load(Ordering::Relaxed) < self.plan.players && Instant::now() < until {
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn new_raid(plan: &GroupPlan) -> NewRaid {
    // A winnable raid needs its final task, worth 1,000 XP, and cannot be won by 500 others of 1 XP
    // each.
    let (target_xp, target_tasks) = if plan.is_winnable {
        (1_000, 1)
    } else {
        (1_000_000, 10_000)
    };
    NewRaid {
        title: format!("Group {}", plan.index),
        description: None,
        target_xp,
        target_tasks,
        time_limit_secs: (plan.time_limit).map(|limit| limit.as_secs().cast_signed()),
        max_members: Some(
            i64::try_from(plan.players.max(2) + plan.others.member_count()).unwrap_or(100),
        ),
        late_join: Some(true),
        ranked: None,
    }
}

/// Returns the server record with a view that was read before, and the newest ledger.
async fn read_server_record(rest: &RestClient, view: RaidView) -> anyhow::Result<ServerRecord> {
    let raid = view.state.id;
    Ok(ServerRecord {
        events: rest.all_events(raid).await?,
        contributions: Some(rest.all_contributions(raid).await?),
        state: view.state,
        seq: view.seq,
        online: view.online,
        profiles: Vec::new(),
    })
}
