//! What became of commands, counted and timed.

use raidhall_protocol::RaidId;
use tokio::time::Instant;

use super::Reply;
use crate::error::Error;
use crate::raid::Ack;
use crate::telemetry::{TraceSpan, metrics};

/// Counts what became of commands.
pub(super) fn count_outcome(result: &Result<Ack, Error>) {
    metrics().commands.increment(outcome_label(result));
}

/// The same, for what clients of this instance were told, and how long that took.
pub(super) fn measure_reply(kind: &'static str, raid: RaidId, reply: Reply<Ack>) -> Reply<Ack> {
    let asked = Instant::now();
    let trace = TraceSpan::start_command(kind, raid);
    let ends = trace.clone();
    let measured = Reply::new(move |result| {
        metrics()
            .client_commands
            .increment([kind, outcome_label(&result)]);
        metrics().command_seconds.record(asked.elapsed());
        ends.end(outcome_label(&result));
        reply.send(result);
    });
    measured.with_trace(trace)
}

fn outcome_label(result: &Result<Ack, Error>) -> &'static str {
    match result {
        Ok(Ack {
            duplicate: false, ..
        }) => "committed",
        Ok(Ack {
            duplicate: true, ..
        }) => "duplicate",
        Err(error) => error.error_type().as_str(),
    }
}
