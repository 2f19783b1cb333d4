//! Outcome and latency of commands, as metrics and trace spans.

use raidhall_protocol::RaidId;
use tokio::time::Instant;

use super::Reply;
use crate::error::Error;
use crate::raid::Ack;
use crate::telemetry::{CommandOutcome, Label, TraceSpan, metrics};

/// Counts the outcome of a command that this instance decided.
pub(super) fn count_outcome(result: &Result<Ack, Error>) {
    metrics().commands.increment(CommandOutcome::of(result));
}

/// Wraps a reply to a client of this instance so that its outcome and latency are recorded when it
/// is sent.
pub(super) fn measure_reply(kind: &'static str, raid: RaidId, reply: Reply<Ack>) -> Reply<Ack> {
    let started = Instant::now();
    let trace = TraceSpan::start_command(kind, raid);
    let reply_trace = trace.clone();
    let measured = Reply::new(move |result| {
        let outcome = CommandOutcome::of(&result).as_str();
        metrics().client_commands.increment([kind, outcome]);
        metrics().command_seconds.record(started.elapsed());
        reply_trace.end(outcome);
        reply.send(result);
    });
    measured.with_trace(trace)
}
