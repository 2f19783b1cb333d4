//! A bot's requests by REST: reads, copies of commands, and its return to the raid.

use std::time::Duration;

use raidhall_protocol::rest::Profile;
use raidhall_protocol::{Command, ErrorType, Seq};
use rand::Rng;
use tokio::time::Instant;

use super::super::reader::{ReadRequest, Reader};
use super::{Bot, CATCH_UP_TIMEOUT, POLL_INTERVAL};
use crate::client_log::Observation;

/// One of so many commands is sent without an op, as simple clients do.
const COMMANDS_PER_OPLESS_ONE: u32 = 12;
/// One of so many commands is followed by a copy.
const COMMANDS_PER_COPY: u32 = 10;
const REJOIN_TIMEOUT: Duration = Duration::from_secs(20);

impl Bot {
    /// Sends a command, and now and then a copy of it by REST to any server. A copy of a `leave` could
    /// come late and take effect after the player has joined again; one of a `mute` that changes
    /// nothing is decided again.
    pub(super) async fn send_command(&mut self, command: Command) {
        if self.rng.random_ratio(1, COMMANDS_PER_OPLESS_ONE) {
            self.player
                .send_command_with_op(self.raid, None, command)
                .await;
            return;
        }
        let op = self.player.new_op();
        let has_copy = self.sends_copies
            && !matches!(command, Command::Leave | Command::Mute { .. })
            && self.rng.random_ratio(1, COMMANDS_PER_COPY);
        if has_copy {
            let copy = self.reader().repeat_command(op.clone(), command.clone());
            self.reads.spawn(copy);
            self.player
                .record(self.raid, Observation::RepeatSent { op: op.clone() });
        }
        self.player
            .send_command_with_op(self.raid, Some(op), command)
            .await;
    }

    pub(super) fn read_when_due(&mut self, due: Instant) -> Instant {
        if due > Instant::now() || self.pace.reads_per_second <= 0.0 {
            return due.max(Instant::now() + Duration::from_millis(1));
        }
        if self.reads.is_empty() {
            let requests = self.next_reads();
            let reader = self.reader();
            self.reads.spawn(reader.read(requests));
        }
        Instant::now() + self.jittered_pause(self.pace.reads_per_second)
    }

    fn next_reads(&mut self) -> Vec<ReadRequest> {
        match (self.rng.random_range(0..8), &self.creation) {
            (0, Some(creation)) => vec![ReadRequest::Creation(Box::new(creation.clone()))],
            (0 | 1, _) => vec![ReadRequest::RaidList],
            _ => {
                let held = self.player.seq(self.raid);
                vec![ReadRequest::Raid, ReadRequest::Events(held)]
            }
        }
    }

    /// Returns a reader that asks one of the servers first.
    fn reader(&mut self) -> Reader {
        Reader {
            rest: self.player.rest().with_home(self.rng.random_range(0..8)),
            raid: self.raid,
            clock: self.clock,
        }
    }

    pub(super) fn record_reads(&mut self) {
        while let Some(read) = self.reads.try_join_next() {
            for observation in read.expect("reads do not panic") {
                self.player.record(self.raid, observation);
            }
        }
    }

    /// Rejoins by the invite code after a leave; gives the raid up when that is refused for good.
    pub(super) async fn rejoin(&mut self) {
        let is_answered = self.player.pending_count() == 0 && self.reads.is_empty();
        if self.player.has_watch_ended(self.raid) && is_answered {
            if self.pace.reads_per_second > 0.0 {
                let requests = vec![
                    ReadRequest::Raid,
                    ReadRequest::Events(Seq::ZERO),
                    ReadRequest::RaidList,
                ];
                for observation in self.reader().read(requests).await {
                    self.player.record(self.raid, observation);
                }
            }
            let rest = self.player.rest().with_retry_timeout(REJOIN_TIMEOUT);
            let invite_code = self.progress.invite_code.lock().1.clone();
            match rest.join_raid(&invite_code).await {
                Ok(_) => {
                    self.player.record_joined(self.raid);
                    self.player.watch(self.raid).await;
                }
                Err(error) => {
                    self.player.record_failure(self.raid, "to join", &error);
                    // A code that is not known any more was replaced meanwhile.
                    let is_replaced = error.has_type(ErrorType::NotFound);
                    if !error.is_retryable() && !is_replaced {
                        self.player.abandon(self.raid);
                    }
                }
            }
        }
    }

    /// Returns the player's profile, once it shows what the player earned in the raid: the projector
    /// adds that a moment later. `None` if the player is not a member any more.
    pub(super) async fn read_profile(&mut self) -> Option<Profile> {
        let id = self.player.player_ref().id;
        let members = &self.player.state(self.raid)?.members;
        let xp = members.iter().find(|member| member.player == id)?.xp;
        let rest = self.player.rest().with_retry_timeout(POLL_INTERVAL);
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            match rest.profile().await {
                Ok(profile) if profile.xp < xp && Instant::now() < until => {
                    self.step(Instant::now() + POLL_INTERVAL).await;
                }
                Ok(profile) => return Some(profile),
                Err(error) => {
                    self.player.record_failure(self.raid, "the profile", &error);
                    return None;
                }
            }
        }
    }
}
