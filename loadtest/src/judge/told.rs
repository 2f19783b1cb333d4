//! Which seqs clients were told of, and when.

use raidhall_protocol::{Seq, ServerMessage};

use crate::client_log::{ClientLog, Moment, Observation};

/// Returns the newest seq that a message told the client of.
pub(super) fn told_seq(observation: &Observation) -> Option<Seq> {
    let Observation::Received(message) = observation else {
        return None;
    };
    match &**message {
        ServerMessage::Event { event, .. } => Some(event.seq),
        ServerMessage::Watching { seq, .. }
        | ServerMessage::Snapshot { seq, .. }
        | ServerMessage::Ack { seq, .. } => Some(*seq),
        _ => None,
    }
}

/// When any client was told of which seq, in order. A seq is as new as the newest before it.
pub(super) struct ToldSeqs(Vec<(Moment, Seq)>);

impl ToldSeqs {
    pub(super) fn from_logs(logs: &[ClientLog]) -> ToldSeqs {
        let entries = logs.iter().flat_map(ClientLog::entries);
        let mut told: Vec<_> = entries
            .filter_map(|entry| Some((entry.at, told_seq(&entry.observation)?)))
            .collect();
        told.sort_unstable();
        let mut newest = Seq::ZERO;
        for (_, seq) in &mut told {
            newest = newest.max(*seq);
            *seq = newest;
        }
        ToldSeqs(told)
    }

    /// Returns when a client was first told of this seq or of a later one: by then its event had
    /// been committed, even if the event itself came later, in a replay.
    pub(super) fn first(&self, seq: Seq) -> Option<Moment> {
        let first = self.0.partition_point(|(_, told)| *told < seq);
        self.0.get(first).map(|(at, _)| *at)
    }
}
