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

use super::bot::{Bot, Finished, Marks};
use super::{Meter, Mind};
use crate::client::{Decoder, Equipment, Player, Rest, Tally};
use crate::judge::Truth;
use crate::ledger::{Ledger, RunClock};

const GATHER_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// How long answers may take once nobody asks any more.
const QUIET_PATIENCE: Duration = Duration::from_secs(45);
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);

/// How eagerly each player acts.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Commands per second.
    pub commands_per_second: f64,
    /// Signals per second.
    pub signals_per_second: f64,
    /// How often a player who has nothing to do looks up.
    pub look: Duration,
}

/// What a party is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its number within the run.
    pub index: usize,
    /// How many play.
    pub players: usize,
    /// Which codecs they use, in turn.
    pub codecs: &'static [Codec],
    /// From which everything random in it follows.
    pub seed: u64,
    /// How eagerly they act.
    pub pace: Pace,
    /// Whether the raid is won in its finale, rather than out of reach.
    pub to_be_won: bool,
    /// Whether players leave the raid now and then and come back.
    pub restless: bool,
    /// How many act, the first of them; the others watch.
    pub actors: usize,
}

/// What the bots of a party are told to do.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Connect and watch.
    Gather,
    /// Play.
    Play,
    /// Win, where that is planned.
    Finale,
    /// Ask nothing more, and wait for what was asked.
    Quiet,
    /// Wait for all events up to `head`, and to be shown who is online.
    Rest { head: Seq, online: Vec<PlayerId> },
    /// Go home.
    Over,
}

/// Players of one raid, at play.
#[derive(Debug)]
pub struct Party {
    plan: Plan,
    raid: RaidId,
    invite_code: String,
    seats: Vec<TokenPair>,
    stage: watch::Sender<Stage>,
    marks: Arc<Marks>,
    bots: JoinSet<Finished>,
}

/// What a party leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// Its raid.
    pub raid: RaidId,
    /// A ledger per player.
    pub ledgers: Vec<Ledger>,
    /// What the server says.
    pub truth: Truth,
    /// Where the raid's owner may be reached, as the server says.
    pub ws_url: String,
    /// What each player counted.
    pub tallies: Vec<Tally>,
    /// Microseconds from sending to receiving, of signals.
    pub signals: Vec<u64>,
    /// Commands not sent because too many were unanswered.
    pub held_back: u64,
}

impl Party {
    /// Signs the players in; the first makes the raid, the others join by its invite code. Nobody is connected yet.
    /// Of several servers each player has another as home, in turn; the first player's is that of the party's number.
    pub async fn gather(rest: &Rest, plan: Plan) -> anyhow::Result<Party> {
        let rest = rest.with_patience(GATHER_PATIENCE);
        let mut seats = Vec::with_capacity(plan.players);
        for seat in 0..plan.players {
            let name = format!("Player {seat} of party {}", plan.index);
            seats.push(
                rest.at(plan.index + seat)
                    .guest(&name)
                    .await
                    .context("sign a guest in")?,
            );
        }
        let first = seats.first().context("a party needs players")?;
        let key = OpKey::try_from(format!("create-{}-{}", first.player.id, plan.seed))?;
        let home = rest.at(plan.index).with_token(&first.access_token);
        let made = home.create(&new_raid(&plan), Some(&key)).await?;
        for (number, seat) in seats.iter().enumerate().skip(1) {
            let home = rest.at(plan.index + number).with_token(&seat.access_token);
            let joined = home.join(&made.state.invite_code).await?;
            anyhow::ensure!(
                joined.state.id == made.state.id,
                "the invite code led to another raid"
            );
        }
        let (raid, invite_code) = (made.state.id, made.state.invite_code);
        let (stage, marks, bots) = (
            watch::Sender::new(Stage::Gather),
            Arc::default(),
            JoinSet::new(),
        );
        Ok(Party {
            plan,
            raid,
            invite_code,
            seats,
            stage,
            marks,
            bots,
        })
    }

    /// Connects everybody; comes back at once.
    pub fn connect(&mut self, rest: &Rest, clock: RunClock, meter: &Arc<Meter>) {
        let decoder = Decoder::new();
        for (seat, tokens) in self.seats.iter().enumerate() {
            let codec = self.plan.codecs[(seat + self.plan.index) % self.plan.codecs.len()];
            let seed = self
                .plan
                .seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(seat as u64);
            let equipment = Equipment {
                name: format!("{}.{seat} ({codec:?})", self.plan.index),
                rest: rest.at(self.plan.index + seat),
                tokens: tokens.clone(),
                codec,
                decoder: Arc::clone(&decoder),
                clock,
                seed,
            };
            let (me, finisher) = (tokens.player.id, seat == 0);
            let restless = self.plan.restless && !finisher && self.plan.players > 2;
            let mind_rng = SmallRng::seed_from_u64(seed ^ 1);
            let bot = Bot {
                player: Player::new(equipment),
                raid: self.raid,
                invite_code: self.invite_code.clone(),
                mind: Mind::new(mind_rng, me, self.plan.to_be_won, restless),
                pace: self.plan.pace,
                rng: SmallRng::seed_from_u64(seed ^ 2),
                clock,
                meter: Arc::clone(meter),
                marks: Arc::clone(&self.marks),
                stage: self.stage.subscribe(),
                finisher,
                acts: seat < self.plan.actors,
                company: self.plan.players,
                started: false,
                signals: Vec::new(),
                held_back: 0,
            };
            self.bots.spawn(bot.run());
        }
    }

    /// How many were watching at least once.
    pub fn watching(&self) -> usize {
        self.marks.watching.load(Ordering::Relaxed)
    }

    /// How many were shown the whole party online at least once.
    pub fn complete(&self) -> usize {
        self.marks.complete.load(Ordering::Relaxed)
    }

    /// How many play.
    pub fn players(&self) -> usize {
        self.plan.players
    }

    /// Lets them play.
    pub fn play(&self) {
        self.stage.send_replace(Stage::Play);
    }

    /// Lets them win, where that is planned.
    pub fn finale(&self) {
        self.stage.send_replace(Stage::Finale);
    }

    /// Brings everybody to rest, reads the server's account, and sends them home.
    pub async fn rest(mut self) -> anyhow::Result<Outcome> {
        self.stage.send_replace(Stage::Quiet);
        self.reached(&self.marks.quiet, QUIET_PATIENCE).await;
        let rest = self.marks.rest.lock().clone();
        let rest = match rest {
            Some(rest) => rest,
            None => anyhow::bail!(
                "raid {}: its maker was not answered within {QUIET_PATIENCE:?}",
                self.raid
            ),
        };
        let view = rest.raid(self.raid).await?;
        let ours = |player: &PlayerId| self.seats.iter().any(|seat| seat.player.id == *player);
        let mut online: Vec<_> = view
            .state
            .members
            .iter()
            .map(|member| member.player)
            .filter(|player| ours(player))
            .collect();
        online.sort_unstable();
        self.stage.send_replace(Stage::Rest {
            head: view.seq,
            online,
        });
        self.reached(&self.marks.settled, SETTLE_PATIENCE).await;
        let truth = read_truth(&rest, self.raid).await?;
        self.stage.send_replace(Stage::Over);
        let (raid, ws_url) = (self.raid, view.ws_url);
        let (ledgers, tallies, signals) = (Vec::new(), Vec::new(), Vec::new());
        let mut outcome = Outcome {
            raid,
            ledgers,
            truth,
            ws_url,
            tallies,
            signals,
            held_back: 0,
        };
        while let Some(finished) = self.bots.join_next().await {
            let finished = finished.context("a player's task")?;
            outcome.ledgers.extend(finished.ledgers);
            outcome.tallies.push(finished.tally);
            outcome.signals.extend(finished.signals);
            outcome.held_back += finished.held_back;
            outcome.truth.profiles.extend(finished.profile);
        }
        Ok(outcome)
    }

    /// Waits until all have counted themselves, or long enough: who has not is for the judge.
    async fn reached(&self, mark: &AtomicUsize, patience: Duration) {
        let until = Instant::now() + patience;
        while mark.load(Ordering::Relaxed) < self.plan.players && Instant::now() < until {
            sleep(POLL).await;
        }
    }
}

fn new_raid(plan: &Plan) -> NewRaid {
    // A raid to be won needs its last task, worth 1,000, and no 500 others of 1 each.
    let (target_xp, target_tasks) = if plan.to_be_won {
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

async fn read_truth(rest: &Rest, raid: RaidId) -> anyhow::Result<Truth> {
    let events = rest.all_events(raid).await?;
    let contributions = Some(rest.all_contributions(raid).await?);
    let view = rest.raid(raid).await?;
    let (state, seq, online) = (view.state, view.seq, view.online);
    Ok(Truth {
        events,
        state,
        seq,
        online,
        contributions,
        profiles: Vec::new(),
    })
}
