//! An outsider: a player who is no member of the group's raid, and tries now and then to read,
//! watch and command it.

use std::time::Duration;

use raidhall_protocol::rest::{CommandResult, Contribution, RaidView};
use raidhall_protocol::{Command, Event, RaidId, Seq, ServerMessage};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bot_group::GroupStage;
use crate::client::{Player, RestClientError, Step};
use crate::client_log::ClientLog;

/// Longest time between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Outsider {
    pub(super) player: Player,
    pub(super) raid: RaidId,
    pub(super) rng: SmallRng,
    pub(super) stage: watch::Receiver<GroupStage>,
}

impl Outsider {
    /// Tries until the group's run is finished, and returns the log of it.
    pub(super) async fn run(mut self) -> Vec<ClientLog> {
        let mut next_attempt = Instant::now();
        while !matches!(*self.stage.borrow_and_update(), GroupStage::Finished) {
            if next_attempt <= Instant::now() {
                self.attempt().await;
                next_attempt = Instant::now() + PAUSE_MAX.mul_f64(self.rng.random());
            }
            let Step::Message(message) = self.player.step(next_attempt).await else {
                continue;
            };
            // The log of the raid does not have them.
            match &*message {
                ServerMessage::Signal { raid, .. } if *raid == self.raid => {
                    self.player.record_answer(self.raid, "a signal");
                }
                ServerMessage::Beat { heads, .. } if heads.contains_key(&self.raid.to_string()) => {
                    self.player.record_answer(self.raid, "a head in a beat");
                }
                _ => {}
            }
        }
        self.player.disconnect().await.0
    }

    async fn attempt(&mut self) {
        let rest = self.player.rest().with_home(self.rng.random_range(0..8));
        let raid = self.raid;
        let say = Command::Say {
            text: "may I?".to_owned(),
        };
        match self.rng.random_range(0..7) {
            0 => {
                let view: Result<RaidView, _> = rest.raid(raid).await;
                self.record("the raid", view);
            }
            1 => {
                let events: Result<Vec<Event>, _> = rest.events(raid, Seq::ZERO, 10).await;
                self.record("the events", events);
            }
            2 => {
                let rows: Result<Vec<Contribution>, _> = rest.all_contributions(raid).await;
                self.record("the contributions", rows);
            }
            3 => {
                let result: Result<CommandResult, _> = rest.send_command(raid, None, &say).await;
                self.record("a command", result);
            }
            4 => self.player.watch(raid).await,
            5 => {
                self.player.send_command(raid, say).await;
            }
            _ => self.player.send_signal(raid, "cursor").await,
        }
    }

    fn record<T>(&mut self, request: &'static str, result: Result<T, RestClientError>) {
        match result {
            Ok(_) => self.player.record_answer(self.raid, request),
            Err(error) => self.player.record_failure(self.raid, request, &error),
        }
    }
}
