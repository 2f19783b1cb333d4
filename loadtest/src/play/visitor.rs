//! A visitor: a player who joins the group's raid while the others play, and is then shut out of the
//! server, by a ban or by the erasure of the account. From then on nothing may be answered.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{Command, PlayerId, RaidId};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bot::GroupProgress;
use super::bot_group::GroupStage;
use crate::client::{Player, PlayerOptions, RestClient, Step};
use crate::client_log::{ClientLog, Moment};

/// Longest time until the visitor joins, and between two actions.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Longest time between joining and the request that shuts the visitor out.
const VISIT_MAX: Duration = Duration::from_secs(20);
/// How long a request is repeated while servers cannot serve it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) options: PlayerOptions,
    pub(super) raid: RaidId,
    /// A REST client with an operator's token.
    pub(super) operator: RestClient,
    pub(super) rng: SmallRng,
    pub(super) progress: Arc<GroupProgress>,
    pub(super) stage: watch::Receiver<GroupStage>,
}

/// What a visitor recorded.
#[derive(Debug)]
pub struct VisitorRecord {
    pub player: PlayerId,
    /// The logs of the visitor's clients. The server has closed the connection of each but the last for
    /// good.
    pub logs: Vec<ClientLog>,
    /// When the server had confirmed that the visitor is shut out.
    pub shut_out: Option<Moment>,
    /// Whether that was the erasure of the account.
    pub is_erased: bool,
    /// When the record ends.
    pub ended: Moment,
}

impl Visitor {
    /// Visits the raid once the group plays, and tries to come back until the run is finished.
    pub(super) async fn run(mut self) -> VisitorRecord {
        let mut record = VisitorRecord {
            player: self.options.tokens.player.id,
            logs: Vec::new(),
            shut_out: None,
            is_erased: self.rng.random(),
            ended: Moment::MAX,
        };
        let playing = |stage: &GroupStage| !matches!(stage, GroupStage::Connect);
        let _ = self.stage.wait_for(playing).await; // the group keeps the sender
        let mut player = Player::new(self.options.clone());
        self.step_for(&mut player, PAUSE_MAX).await;
        if self.join(player.rest()).await {
            player.watch(self.raid).await;
            self.visit(&mut player).await;
            record.shut_out = self.shut_out(player.rest(), record.is_erased).await;
        }
        while record.shut_out.is_some() && !self.is_finished() {
            self.send_request(&mut player).await;
            let is_stopped = self.step_for(&mut player, PAUSE_MAX).await;
            if is_stopped {
                record.logs.extend(player.disconnect().await.0);
                player = Player::new(self.options_elsewhere());
                player.watch(self.raid).await;
            }
        }
        record.ended = self.options.clock.now();
        record.logs.extend(player.disconnect().await.0);
        record
    }

    async fn join(&self, rest: RestClient) -> bool {
        let rest = rest.with_retry_timeout(REQUEST_TIMEOUT);
        let invite_code = self.progress.invite_code.lock().1.clone();
        rest.join_raid(&invite_code).await.is_ok()
    }

    /// Chats and adds tasks for a while.
    async fn visit(&mut self, player: &mut Player) {
        let end = Instant::now() + VISIT_MAX.mul_f64(self.rng.random());
        let mut count = 0;
        while Instant::now() < end && !self.is_finished() {
            if player.is_watching(self.raid) {
                count += 1;
                let text = format!("Visitor {}: {count}", player.player_ref().id);
                let command = if self.rng.random_ratio(1, 4) {
                    let (xp, minutes) = (1, 5);
                    Command::AddTask {
                        title: text,
                        xp,
                        minutes,
                    }
                } else {
                    Command::Say { text }
                };
                player.send_command(self.raid, command).await;
            }
            self.step_for(player, PAUSE_MAX / 4).await;
        }
    }

    /// Has the visitor banned or erased. Returns when a server had confirmed it; one that does not know
    /// the player any more confirms it too, since an earlier attempt may have had no answer.
    async fn shut_out(&mut self, rest: RestClient, erases: bool) -> Option<Moment> {
        let home = self.rng.random_range(0..8);
        let result = if erases {
            let rest = rest.with_home(home).with_retry_timeout(REQUEST_TIMEOUT);
            rest.erase_self().await
        } else {
            let rest = self.operator.with_home(home);
            let rest = rest.with_retry_timeout(REQUEST_TIMEOUT);
            rest.ban(self.options.tokens.player.id, "visited").await
        };
        let is_confirmed = result.map_or_else(|error| !error.is_retryable(), |()| true);
        is_confirmed.then(|| self.options.clock.now())
    }

    /// Reads the raid or sends a command, by REST at any server.
    async fn send_request(&mut self, player: &mut Player) {
        let rest = player.rest().with_home(self.rng.random_range(0..8));
        let (request, is_answered) = if self.rng.random() {
            ("the raid", rest.raid(self.raid).await.is_ok())
        } else {
            let text = "I am back".to_owned();
            let say = Command::Say { text };
            let result = rest.send_command(self.raid, None, &say).await;
            ("a command", result.is_ok())
        };
        if is_answered {
            player.record_answer(self.raid, request);
        }
    }

    fn options_elsewhere(&mut self) -> PlayerOptions {
        PlayerOptions {
            rest: self.options.rest.with_home(self.rng.random_range(0..8)),
            ..self.options.clone()
        }
    }

    fn is_finished(&self) -> bool {
        matches!(*self.stage.borrow(), GroupStage::Finished)
    }

    /// Steps the player for a random time. Returns whether the server has closed its connection for
    /// good.
    async fn step_for(&mut self, player: &mut Player, time_max: Duration) -> bool {
        let end = Instant::now() + time_max.mul_f64(self.rng.random());
        let mut is_stopped = false;
        while Instant::now() < end {
            is_stopped = matches!(player.step(end).await, Step::Stopped);
        }
        is_stopped
    }
}
