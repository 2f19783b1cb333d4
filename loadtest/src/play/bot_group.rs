//! The players who share a raid: how they come together, and how they come to rest so that they can be judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::rest::{NewRaid, TokenPair};
use raidhall_protocol::{Codec, OpKey, PlayerId, RaidId, Seq};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::bot::{Bot, BotResult, GroupProgress};
use super::{CommandGenerator, TrafficCounters};
use crate::client::{ClientCounts, Decoder, Player, PlayerOptions, RestClient};
use crate::client_log::{ClientLog, RunClock};
use crate::judge::ServerRecord;

const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long answers may take once nobody asks any more.
const REPLIES_TIMEOUT: Duration = Duration::from_secs(45);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How eagerly each player acts.
#[derive(Debug, Clone, Copy)]
pub struct BotPace {
    /// Commands per second.
    pub commands_per_second: f64,
    /// Signals per second.
    pub signals_per_second: f64,
    /// How often a player who has nothing to do looks up.
    pub poll_interval: Duration,
}

/// What a party is to be.
#[derive(Debug, Clone)]
pub struct GroupPlan {
    /// Its number within the run.
    pub index: usize,
    /// How many play.
    pub players: usize,
    /// Which codecs they use, in turn.
    pub codecs: &'static [Codec],
    /// From which everything random in it follows.
    pub seed: u64,
    /// How eagerly they act.
    pub pace: BotPace,
    /// Whether the raid is won in its finale, rather than out of reach.
    pub is_winnable: bool,
    /// Whether players leave the raid now and then and come back.
    pub may_leave: bool,
    /// How many act, the first of them; the others watch.
    pub active_players: usize,
}

/// What the bots of a party are told to do.
#[derive(Debug, Clone)]
pub(super) enum GroupStage {
    /// Connect and watch.
    Connect,
    /// Play.
    Play,
    /// Win, where that is planned.
    CompleteFinalTask,
    /// Ask nothing more, and wait for what was asked.
    AwaitReplies,
    /// Wait for all events up to `head`, and to be shown who is online.
    CatchUp { head: Seq, online: Vec<PlayerId> },
    /// Go home.
    Finished,
}

/// Players of one raid, at play.
#[derive(Debug)]
pub struct BotGroup {
    plan: GroupPlan,
    raid: RaidId,
    invite_code: String,
    tokens: Vec<TokenPair>,
    stage: watch::Sender<GroupStage>,
    progress: Arc<GroupProgress>,
    bots: JoinSet<BotResult>,
}

/// What a party leaves behind.
#[derive(Debug)]
pub struct GroupOutcome {
    /// Its raid.
    pub raid: RaidId,
    /// A ledger per player.
    pub ledgers: Vec<ClientLog>,
    /// What the server says.
    pub server_record: ServerRecord,
    /// Where the raid's owner may be reached, as the server says.
    pub ws_url: String,
    /// What each player counted.
    pub counts: Vec<ClientCounts>,
    /// Microseconds from sending to receiving, of signals.
    pub signal_latencies_micros: Vec<u64>,
    /// Commands not sent because too many were unanswered.
    pub commands_held_back: u64,
}

impl BotGroup {
    /// Signs the players in; the first makes the raid, the others join by its invite code. Nobody is connected yet.
    /// Of several servers each player has another as home, in turn; the first player's is that of the party's number.
    pub async fn create(rest: &RestClient, plan: GroupPlan) -> anyhow::Result<BotGroup> {
        let rest = rest.with_retry_timeout(CREATE_TIMEOUT);
        let mut seats = Vec::with_capacity(plan.players);
        for seat in 0..plan.players {
            let name = format!("Player {seat} of party {}", plan.index);
            seats.push(
                rest.with_home(plan.index + seat)
                    .sign_in_guest(&name)
                    .await
                    .context("sign a guest in")?,
            );
        }
        let first = seats.first().context("a party needs players")?;
        let key = OpKey::try_from(format!("create-{}-{}", first.player.id, plan.seed))?;
        let home = rest.with_home(plan.index).with_token(&first.access_token);
        let made = home.create_raid(&new_raid(&plan), Some(&key)).await?;
        for (number, seat) in seats.iter().enumerate().skip(1) {
            let home = rest
                .with_home(plan.index + number)
                .with_token(&seat.access_token);
            let joined = home.join_raid(&made.state.invite_code).await?;
            anyhow::ensure!(
                joined.state.id == made.state.id,
                "the invite code led to another raid"
            );
        }
        let (raid, invite_code) = (made.state.id, made.state.invite_code);
        let (stage, marks, bots) = (
            watch::Sender::new(GroupStage::Connect),
            Arc::default(),
            JoinSet::new(),
        );
        Ok(BotGroup {
            plan,
            raid,
            invite_code,
            tokens: seats,
            stage,
            progress: marks,
            bots,
        })
    }

    /// Starts to connect every client of the group, and returns at once.
    pub fn connect(&mut self, rest: &RestClient, clock: RunClock, meter: &Arc<TrafficCounters>) {
        let decoder = Decoder::new();
        for (seat, tokens) in self.tokens.iter().enumerate() {
            let codec = self.plan.codecs[(seat + self.plan.index) % self.plan.codecs.len()];
            let seed = self
                .plan
                .seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(seat as u64);
            let equipment = PlayerOptions {
                client_name: format!("{}.{seat} ({codec:?})", self.plan.index),
                rest: rest.with_home(self.plan.index + seat),
                tokens: tokens.clone(),
                codec,
                decoder: Arc::clone(&decoder),
                clock,
                jitter_seed: seed,
            };
            let (me, finisher) = (tokens.player.id, seat == 0);
            let restless = self.plan.may_leave && !finisher && self.plan.players > 2;
            let mind_rng = SmallRng::seed_from_u64(seed ^ 1);
            let bot = Bot {
                player: Player::new(equipment),
                raid: self.raid,
                invite_code: self.invite_code.clone(),
                commands: CommandGenerator::new(mind_rng, me, self.plan.is_winnable, restless),
                pace: self.plan.pace,
                rng: SmallRng::seed_from_u64(seed ^ 2),
                clock,
                meter: Arc::clone(meter),
                progress: Arc::clone(&self.progress),
                stage: self.stage.subscribe(),
                is_leader: finisher,
                is_active: seat < self.plan.active_players,
                group_size: self.plan.players,
                is_started: false,
                signal_latencies_micros: Vec::new(),
                commands_held_back: 0,
            };
            self.bots.spawn(bot.run());
        }
    }

    /// How many were watching at least once.
    pub fn watching_count(&self) -> usize {
        self.progress.watching.load(Ordering::Relaxed)
    }

    /// How many were shown the whole party online at least once.
    pub fn fully_online_count(&self) -> usize {
        self.progress.fully_online.load(Ordering::Relaxed)
    }

    /// How many play.
    pub fn player_count(&self) -> usize {
        self.plan.players
    }

    /// Lets them play.
    pub fn start_playing(&self) {
        self.stage.send_replace(GroupStage::Play);
    }

    /// Lets them win, where that is planned.
    pub fn complete_final_task(&self) {
        self.stage.send_replace(GroupStage::CompleteFinalTask);
    }

    /// Waits until the group's clients have nothing in flight, reads the server record, and disconnects the clients.
    pub async fn settle(mut self) -> anyhow::Result<GroupOutcome> {
        self.stage.send_replace(GroupStage::AwaitReplies);
        self.wait_for(&self.progress.quiet, REPLIES_TIMEOUT).await;
        let rest = self.progress.rest.lock().clone();
        let rest = match rest {
            Some(rest) => rest,
            None => anyhow::bail!(
                "raid {}: its maker was not answered within {REPLIES_TIMEOUT:?}",
                self.raid
            ),
        };
        let view = rest.raid(self.raid).await?;
        let ours = |player: &PlayerId| self.tokens.iter().any(|seat| seat.player.id == *player);
        let mut online: Vec<_> = view
            .state
            .members
            .iter()
            .map(|member| member.player)
            .filter(|player| ours(player))
            .collect();
        online.sort_unstable();
        self.stage.send_replace(GroupStage::CatchUp {
            head: view.seq,
            online,
        });
        self.wait_for(&self.progress.settled, CATCH_UP_TIMEOUT)
            .await;
        let truth = read_server_record(&rest, self.raid).await?;
        self.stage.send_replace(GroupStage::Finished);
        let (raid, ws_url) = (self.raid, view.ws_url);
        let (ledgers, tallies, signals) = (Vec::new(), Vec::new(), Vec::new());
        let mut outcome = GroupOutcome {
            raid,
            ledgers,
            server_record: truth,
            ws_url,
            counts: tallies,
            signal_latencies_micros: signals,
            commands_held_back: 0,
        };
        while let Some(finished) = self.bots.join_next().await {
            let finished = finished.context("a player's task")?;
            outcome.ledgers.extend(finished.ledgers);
            outcome.counts.push(finished.tally);
            outcome
                .signal_latencies_micros
                .extend(finished.signal_latencies_micros);
            outcome.commands_held_back += finished.commands_held_back;
            outcome.server_record.profiles.extend(finished.profile);
        }
        Ok(outcome)
    }

    /// Waits until all have counted themselves, or long enough: who has not is for the judge.
    async fn wait_for(&self, mark: &AtomicUsize, patience: Duration) {
        let until = Instant::now() + patience;
        while mark.load(Ordering::Relaxed) < self.plan.players && Instant::now() < until {
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn new_raid(plan: &GroupPlan) -> NewRaid {
    // A raid to be won needs its last task, worth 1,000, and no 500 others of 1 each.
    let (target_xp, target_tasks) = if plan.is_winnable {
        (1_000, 1)
    } else {
        (1_000_000, 10_000)
    };
    NewRaid {
        title: format!("Party {}", plan.index),
        description: None,
        target_xp,
        target_tasks,
        time_limit_secs: None,
        max_members: Some(i64::try_from(plan.players.max(2)).unwrap_or(100)),
        late_join: Some(true),
    }
}

async fn read_server_record(rest: &RestClient, raid: RaidId) -> anyhow::Result<ServerRecord> {
    let events = rest.all_events(raid).await?;
    let contributions = Some(rest.all_contributions(raid).await?);
    let view = rest.raid(raid).await?;
    let (state, seq, online) = (view.state, view.seq, view.online);
    Ok(ServerRecord {
        events,
        state,
        seq,
        online,
        contributions,
        profiles: Vec::new(),
    })
}
