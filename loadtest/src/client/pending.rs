//! The commands that wait for a reply, and when to send them again.

use std::collections::BTreeMap;
use std::time::Duration;

use raidhall_protocol::{ClientMessage, ErrorBody};
use rand::Rng;
use tokio::time::Instant;

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Unanswered commands by correlation number. Each keeps its op however often it is sent.
#[derive(Debug, Default)]
pub(super) struct PendingCommands {
    commands: BTreeMap<u64, PendingCommand>,
}

#[derive(Debug)]
struct PendingCommand {
    message: ClientMessage,
    failures: u32,
    /// When to send the command again; `None` while a reply is expected.
    retry_at: Option<Instant>,
}

impl PendingCommands {
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn add(&mut self, id: u64, message: ClientMessage) {
        self.commands.insert(
            id,
            PendingCommand {
                message,
                failures: 0,
                retry_at: None,
            },
        );
    }

    /// Removes a command that has its final reply.
    pub(super) fn complete(&mut self, id: u64) {
        self.commands.remove(&id);
    }

    /// Records a refusal: a final one removes the command, a retryable one schedules the next
    /// attempt no earlier than the refusal's `retry_after_ms`.
    pub(super) fn record_refusal(
        &mut self,
        id: u64,
        error: &ErrorBody,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        if !error.retry {
            return self.complete(id);
        }
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        let ceiling = RETRY_BASE
            .saturating_mul(1 << command.failures.min(8))
            .min(RETRY_MAX);
        command.failures += 1;
        let retry_after = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        command.retry_at = Some(now + retry_after + ceiling.mul_f64(rng.random()));
    }

    /// Makes every command due now, because the connection is gone and the next one has to carry
    /// them.
    pub(super) fn mark_all_due(&mut self, now: Instant) {
        for command in self.commands.values_mut() {
            command.retry_at = Some(now);
        }
    }

    /// Returns when the next command is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.commands
            .values()
            .filter_map(|command| command.retry_at)
            .min()
    }

    /// Returns one command that is due, in the order of first sending, and marks it as sent.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ClientMessage> {
        let due = self
            .commands
            .values_mut()
            .find(|command| command.retry_at.is_some_and(|again| again <= now))?;
        due.retry_at = None;
        Some(due.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::{Command, ErrorType, RaidId};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn command(id: u64) -> ClientMessage {
        let raid = RaidId::try_from(7_u64).unwrap();
        ClientMessage::Do {
            id,
            raid,
            op: None,
            cmd: Command::Start,
        }
    }

    #[test]
    fn a_retryable_refusal_delays_a_command_and_a_final_one_ends_it() {
        let now = Instant::now();
        let mut rng = SmallRng::seed_from_u64(1);
        let mut pending = PendingCommands::default();
        pending.add(1, command(1));
        pending.add(2, command(2));
        assert!(
            pending.take_due(now).is_none(),
            "nothing is sent twice while a reply is expected"
        );
        let mut busy = ErrorBody::new(ErrorType::Overloaded, "full");
        busy.retry_after_ms = Some(500);
        pending.record_refusal(1, &busy, now, &mut rng);
        pending.record_refusal(
            2,
            &ErrorBody::new(ErrorType::TaskTaken, "taken"),
            now,
            &mut rng,
        );
        assert_eq!(pending.len(), 1);
        assert!(pending.take_due(now + Duration::from_millis(499)).is_none());
        let later = now + Duration::from_millis(700);
        assert_eq!(pending.take_due(later), Some(command(1)));
        assert!(pending.take_due(later).is_none());
    }

    #[test]
    fn a_lost_connection_makes_all_pending_commands_due_in_order() {
        let now = Instant::now();
        let mut pending = PendingCommands::default();
        pending.add(1, command(1));
        pending.add(2, command(2));
        pending.mark_all_due(now);
        assert_eq!(
            [pending.take_due(now), pending.take_due(now)],
            [Some(command(1)), Some(command(2))]
        );
        assert_eq!(pending.take_due(now), None);
    }
}
