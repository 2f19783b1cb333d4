//! Reads the log of one device: contiguity, order, acks and answers, which hold per connection. What
//! the device holds outlives its connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use raidhall_protocol::player::{
    PlayerCommand, PlayerEvent, PlayerMessage, PlayerRequest, PlayerState,
};
use raidhall_protocol::{ClientMessage, OpKey, PlayerId, Seq, ServerMessage, UnixMillis};

use super::violation::StreamViolationKind;
use crate::client_log::{LogEntry, Moment, Observation, StreamLog};
use crate::fold::StreamFold;

/// One command of a device, with its attempts and its answer.
#[derive(Debug, Clone)]
pub(super) struct DeviceCommand {
    pub(super) op: Option<OpKey>,
    pub(super) command: PlayerCommand,
    pub(super) attempts: u32,
    /// The seq of the first ack.
    pub(super) ack: Option<Seq>,
    /// Whether the last answer was a refusal that no retry can change.
    pub(super) is_refused: bool,
}

/// What a device's log shows once it has been read.
#[derive(Debug, Default)]
pub(super) struct DeviceSummary {
    /// Every event that the device accepted, and when.
    pub(super) events: BTreeMap<Seq, (Moment, Arc<ServerMessage>)>,
    pub(super) snapshots: Vec<(Seq, PlayerState)>,
    /// The device's commands by correlation number.
    pub(super) commands: BTreeMap<u64, DeviceCommand>,
    pub(super) violations: Vec<StreamViolationKind>,
    /// What the device held in the end.
    pub(super) fold: StreamFold,
    /// Watches of streams with `since`.
    pub(super) resumes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamWatch {
    /// The stream is not watched on this connection.
    Off,
    /// A `watch` was sent. After an `earlier` watch, events of that one may still come.
    Requested {
        can_resume: bool,
        earlier: bool,
    },
    On,
}

struct DeviceReader {
    player: PlayerId,
    watch: StreamWatch,
    fold: StreamFold,
    clock: UnixMillis,
    ops: BTreeMap<OpKey, Seq>,
    is_settled: bool,
    summary: DeviceSummary,
}

/// Returns the event of a message about a player's stream.
pub(super) fn stream_event(message: &ServerMessage) -> Option<&PlayerEvent> {
    match message {
        ServerMessage::Player(PlayerMessage::Event { event, .. }) => Some(event),
        _ => None,
    }
}

/// Reads a device's log from its first entry to its last.
pub(super) fn read_stream_log(log: &StreamLog) -> DeviceSummary {
    let mut reader = DeviceReader {
        player: log.player,
        watch: StreamWatch::Off,
        fold: StreamFold::default(),
        clock: UnixMillis(i64::MIN),
        ops: BTreeMap::new(),
        is_settled: false,
        summary: DeviceSummary::default(),
    };
    for entry in &log.entries {
        reader.process(entry);
    }
    reader.finish()
}

impl DeviceReader {
    fn report(&mut self, kind: StreamViolationKind) {
        self.summary.violations.push(kind);
    }

    fn process(&mut self, LogEntry { at, observation }: &LogEntry) {
        match observation {
            Observation::Connected { .. } | Observation::Disconnected { .. } => {
                self.watch = StreamWatch::Off;
            }
            Observation::Sent(ClientMessage::Player(request)) => self.on_sent(request),
            Observation::Received(message) => self.on_received(*at, message),
            Observation::Unreadable { text, .. } => {
                self.report(StreamViolationKind::Unreadable { text: text.clone() })
            }
            Observation::Settled { head, .. } => {
                self.is_settled = true;
                let held = self.fold.seq();
                if held < *head || self.watch != StreamWatch::On {
                    self.report(StreamViolationKind::IncompleteAtEnd { held, head: *head });
                }
            }
            _ => {}
        }
    }

    fn on_sent(&mut self, request: &PlayerRequest) {
        match request {
            PlayerRequest::Watch { since, .. } => {
                self.summary.resumes += u64::from(since.is_some());
                self.watch = StreamWatch::Requested {
                    can_resume: since.is_some(),
                    earlier: self.watch != StreamWatch::Off,
                };
            }
            PlayerRequest::Do { id, op, cmd, .. } => {
                let command = DeviceCommand {
                    op: op.clone(),
                    command: cmd.clone(),
                    attempts: 0,
                    ack: None,
                    is_refused: false,
                };
                let command = self.summary.commands.entry(*id).or_insert(command);
                command.attempts += 1;
            }
            PlayerRequest::Unwatch { .. } => self.watch = StreamWatch::Off,
        }
    }

    fn on_received(&mut self, at: Moment, message: &Arc<ServerMessage>) {
        match &**message {
            ServerMessage::Player(PlayerMessage::Watching { player, seq, .. }) => {
                let is_asked = matches!(
                    self.watch,
                    StreamWatch::Requested {
                        can_resume: true,
                        ..
                    }
                );
                self.check_asked("watching", is_asked && *player == self.player);
                self.check_progress(*seq);
                self.watch = StreamWatch::On;
            }
            ServerMessage::Player(PlayerMessage::Snapshot {
                player, seq, state, ..
            }) => {
                let is_asked = matches!(self.watch, StreamWatch::Requested { .. });
                self.check_asked("a snapshot", is_asked && *player == self.player);
                self.check_progress(*seq);
                self.watch = StreamWatch::On;
                self.fold.replace(*seq, (**state).clone());
                self.summary.snapshots.push((*seq, (**state).clone()));
            }
            ServerMessage::Player(PlayerMessage::Event { player, event }) => {
                self.check_asked("an event", *player == self.player);
                self.on_event(at, event, message);
            }
            ServerMessage::Player(PlayerMessage::Ack { id, seq, .. }) => self.on_ack(*id, *seq),
            ServerMessage::Player(PlayerMessage::Unwatched { .. }) => {
                self.check_asked("unwatched", false);
                self.watch = StreamWatch::Off;
            }
            ServerMessage::Error { re, id, error, .. } if re == "do" => {
                let command = id.and_then(|id| self.summary.commands.get_mut(&id));
                if let Some(command) = command {
                    command.is_refused = !error.retry;
                }
            }
            ServerMessage::Error { re, .. } if re == "watch" => self.watch = StreamWatch::Off,
            _ => {}
        }
    }

    fn check_asked(&mut self, what: &'static str, is_asked: bool) {
        if !is_asked {
            self.report(StreamViolationKind::Unsolicited { what });
        }
    }

    /// Checks that the answer to a watch is not behind what the device holds.
    fn check_progress(&mut self, got: Seq) {
        let held = self.fold.seq();
        if got < held {
            self.report(StreamViolationKind::SeqWentBack { held, got });
            self.clock = UnixMillis(i64::MIN);
        }
    }

    fn on_event(&mut self, at: Moment, event: &PlayerEvent, message: &Arc<ServerMessage>) {
        match self.watch {
            StreamWatch::On => {}
            // The device ignores what the earlier watch still sends.
            StreamWatch::Requested { earlier: true, .. } => return,
            StreamWatch::Off | StreamWatch::Requested { .. } => {
                return self.check_asked("an event", false);
            }
        }
        let held = self.fold.seq();
        let got = event.seq;
        if got <= held {
            return self.report(StreamViolationKind::Duplicate { seq: got });
        }
        if event.at < self.clock {
            self.report(StreamViolationKind::ClockWentBack { seq: got });
        }
        self.clock = event.at;
        if self.fold.apply(event).is_err() {
            self.report(StreamViolationKind::Gap { held, got });
            self.fold = StreamFold::without_state(got);
        }
        (self.summary.events).insert(got, (at, Arc::clone(message)));
    }

    fn on_ack(&mut self, id: u64, seq: Seq) {
        let held = self.fold.seq();
        if self.watch == StreamWatch::On && held < seq {
            self.report(StreamViolationKind::AckBeforeEvent { seq, held });
        }
        let Some(command) = self.summary.commands.get_mut(&id) else {
            return self.check_asked("an ack", false);
        };
        command.ack.get_or_insert(seq);
        command.is_refused = false;
        if let Some(op) = command.op.clone() {
            let first = *self.ops.entry(op.clone()).or_insert(seq);
            if first != seq {
                let then = seq;
                self.report(StreamViolationKind::AckChanged { op, first, then });
            }
        }
    }

    fn finish(mut self) -> DeviceSummary {
        if !self.is_settled {
            self.report(StreamViolationKind::NeverSettled);
        }
        let unanswered = (self.summary.commands.iter())
            .filter(|(_, command)| command.ack.is_none() && !command.is_refused)
            .map(|(id, _)| StreamViolationKind::Unanswered { id: *id });
        let unanswered: Vec<_> = unanswered.collect();
        self.summary.violations.extend(unanswered);
        self.summary.fold = self.fold;
        self.summary
    }
}
