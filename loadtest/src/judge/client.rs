//! Judges one client log by itself: contiguity, order, acks, replies.
//!
//! The contract is judged per connection, because it holds per connection: an ack follows its event
//! *on a connection that watches the raid*. The state that the client holds outlives its
//! connections.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{
    ClientMessage, Command, ErrorBody, ErrorType, Event, EventData, OpKey, PlayerId, RaidState,
    Seq, ServerMessage, UnixMillis,
};

use super::membership::RaidFacts;
use super::violation::{Violation, ViolationKind};
use crate::client::CloseClass;
use crate::client_log::{ClientLog, Moment, Observation};
use crate::fold::Fold;

/// One command of one client, with its attempts and its reply.
#[derive(Debug, Clone)]
pub struct SentCommand {
    pub id: u64,
    /// The command's op, if it has one.
    pub op: Option<OpKey>,
    pub command: Command,
    /// When the command was first sent.
    pub first_sent: Moment,
    /// When the command was last sent before the reply.
    pub last_sent: Moment,
    /// How often the command was sent.
    pub attempts: u32,
    /// When the command was acknowledged, at which seq, and whether as a repeat.
    pub ack: Option<(Moment, Seq, bool)>,
    /// When the final reply came: the last ack, or the last refusal that no retry can change.
    pub answered: Option<Moment>,
    /// Whether the last reply was a refusal that no retry can change.
    pub is_refused: bool,
    /// The index of the server that the client was connected to when it first sent the command.
    pub server: usize,
    /// Whether the connection was lost before it was acknowledged.
    pub connection_lost: bool,
    /// Whether the client sent it by REST too.
    pub is_repeated_by_rest: bool,
    is_answered: bool,
    sent_during_watch_request: bool,
    sent_as_member: bool,
}

/// What one client log shows once it has been read.
#[derive(Debug, Default)]
pub struct ClientSummary {
    /// Every event that the client accepted, and when.
    pub events: BTreeMap<Seq, (Moment, Arc<ServerMessage>)>,
    /// Every snapshot that the client received.
    pub snapshots: Vec<(Seq, Arc<ServerMessage>)>,
    /// The client's commands by correlation number.
    pub commands: BTreeMap<u64, SentCommand>,
    /// The violations that the client log shows by itself.
    pub violations: Vec<Violation>,
    /// Watches with `since`, however they were answered.
    pub resumes: u64,
    /// Resumes answered by `watching`.
    pub replays: u64,
    /// Whether the client was ready to be judged when the run settled.
    pub is_settled: bool,
    /// Whether the player left, and the server refused for a good reason to let it join again.
    pub has_given_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchState {
    /// The raid is not watched on this connection.
    Off,
    /// A `watch` was sent; `again` when the raid was watched before, so that events of the old
    /// watch are ignored.
    Requested {
        since: Option<Seq>,
        again: bool,
    },
    On,
}

struct LogReader<'a> {
    log: &'a ClientLog,
    facts: &'a RaidFacts,
    watch: WatchState,
    /// Whether the player certainly is a member: never asked to leave, or has joined again.
    is_member: bool,
    /// Since when, if so.
    member_since: Moment,
    /// Since when the player certainly is no member: was removed, and has not asked to join again.
    former_member_since: Option<Moment>,
    /// Whether the player certainly was a member when the newest `watch` was sent.
    watched_as_member: bool,
    fold: Fold,
    fold_is_invalid: bool,
    clock: UnixMillis,
    /// The seq up to which the server has promised events, and no snapshot.
    promised: Seq,
    online: BTreeSet<PlayerId>,
    lineage: Option<&'a str>,
    server: usize,
    ops: BTreeMap<OpKey, Seq>,
    /// The ops of commands that were sent by REST too.
    repeated_ops: BTreeSet<OpKey>,
    summary: ClientSummary,
}

/// Reads a client log from its first entry to its last.
pub(super) fn read_client_log(log: &ClientLog, facts: &RaidFacts) -> ClientSummary {
    let is_member = !facts.is_removed(log.player);
    let mut reader = LogReader {
        log,
        facts,
        watch: WatchState::Off,
        is_member,
        member_since: Moment::default(),
        former_member_since: None,
        watched_as_member: is_member,
        fold: Fold::new(log.raid),
        fold_is_invalid: false,
        clock: UnixMillis(i64::MIN),
        promised: Seq::ZERO,
        online: BTreeSet::new(),
        lineage: None,
        server: 0,
        ops: BTreeMap::new(),
        repeated_ops: BTreeSet::new(),
        summary: ClientSummary::default(),
    };
    for record in log.entries() {
        reader.process(record.at, &record.observation);
    }
    reader.summary
}

/// Returns the event of a message that carries one.
pub(super) fn event_of(message: &ServerMessage) -> Option<&Event> {
    match message {
        ServerMessage::Event { event, .. } => Some(event),
        _ => None,
    }
}

/// Returns the state of a message that is a snapshot.
pub(super) fn state_of(message: &ServerMessage) -> Option<&RaidState> {
    match message {
        ServerMessage::Snapshot { state, .. } => Some(state),
        _ => None,
    }
}

impl<'a> LogReader<'a> {
    fn report(&mut self, breach: ViolationKind) {
        let violation = Violation::of(self.log, breach);
        self.summary.violations.push(violation);
    }

    fn process(&mut self, at: Moment, entry: &'a Observation) {
        match entry {
            Observation::Connected { lineage, server } => {
                self.server = *server;
                self.on_connected(lineage);
            }
            Observation::Disconnected { code } => {
                self.watch = WatchState::Off;
                let open = self
                    .summary
                    .commands
                    .values_mut()
                    .filter(|command| command.ack.is_none() && !command.is_refused);
                for command in open {
                    command.connection_lost = true;
                }
                if let Some(code) = *code
                    && CloseClass::from_code(Some(code)) == CloseClass::Stop
                {
                    self.report(ViolationKind::ClosedPermanently { code });
                }
            }
            Observation::Sent(message) => self.on_sent(at, message),
            Observation::Received(message) => self.on_received(at, message),
            Observation::Unreadable { text, error: true } => {
                self.report(ViolationKind::ErrorNotTyped { text: text.clone() });
            }
            Observation::Unreadable { text, error: false } => {
                self.report(ViolationKind::UnknownMessage { text: text.clone() });
            }
            // Only an outsider records it, whose log `check_outsider` judges.
            Observation::RequestAnswered { .. } => {}
            Observation::Joined => {
                self.former_member_since = None;
                self.on_membership_shown(at);
            }
            Observation::Read(read) => self.on_read(read),
            Observation::RepeatSent { op } => {
                self.repeated_ops.insert(op.clone());
            }
            Observation::RepeatAcknowledged { op, seq } => self.check_op(op, *seq),
            // The other ends of connections are no different.
            Observation::WentAway { .. } => {}
            Observation::RequestFailed { request, refusal } => {
                self.on_request_failed(request, refusal.as_ref());
            }
            Observation::SignalWrong { from } => {
                self.report(ViolationKind::SignalWrong { from: *from })
            }
            Observation::Settled { head, online } => self.on_settled(*head, online),
        }
    }

    fn on_connected(&mut self, lineage: &'a str) {
        self.watch = WatchState::Off;
        if self.lineage.is_some_and(|known| known != lineage) {
            self.report(ViolationKind::LineageChanged);
        }
        self.lineage = Some(lineage);
    }

    /// Notes an answer that only a member gets. A `leave` without an answer, or on a lost
    /// connection, can still take effect.
    fn on_membership_shown(&mut self, at: Moment) {
        let was_member = self.is_member;
        let may_leave = |command: &SentCommand| {
            matches!(command.command, Command::Leave)
                && command.ack.is_none()
                && (!command.is_refused || command.connection_lost)
        };
        self.is_member = !self.facts.is_removed(self.log.player)
            && !self.summary.commands.values().any(may_leave);
        if !was_member {
            self.member_since = at;
        }
    }

    /// Reports an answer that treats a member as a stranger.
    fn check_membership(&mut self, what: &'static str, was_member: bool) {
        if was_member && self.is_member {
            self.report(ViolationKind::MembershipDenied { what });
        }
    }

    fn on_sent(&mut self, at: Moment, message: &ClientMessage) {
        match message {
            ClientMessage::Watch { since, .. } => {
                self.promised = Seq::ZERO;
                // A watch that is replaced before its answer gets none, and holds no ack back.
                for command in self.summary.commands.values_mut() {
                    command.sent_during_watch_request = false;
                }
                let again = match self.watch {
                    WatchState::Off => false,
                    WatchState::On => true,
                    WatchState::Requested { again, .. } => again,
                };
                self.watch = WatchState::Requested {
                    since: *since,
                    again,
                };
                self.watched_as_member = self.is_member;
            }
            ClientMessage::Do { id, op, cmd, .. } => {
                if matches!(cmd, Command::Leave) {
                    self.is_member = false;
                }
                let sent_during_watch_request = matches!(self.watch, WatchState::Requested { .. });
                let is_repeated_by_rest =
                    op.as_ref().is_some_and(|op| self.repeated_ops.contains(op));
                let command = self
                    .summary
                    .commands
                    .entry(*id)
                    .or_insert_with(|| SentCommand {
                        id: *id,
                        op: op.clone(),
                        command: cmd.clone(),
                        first_sent: at,
                        last_sent: at,
                        attempts: 0,
                        ack: None,
                        answered: None,
                        is_refused: false,
                        server: self.server,
                        connection_lost: false,
                        is_repeated_by_rest,
                        is_answered: false,
                        sent_during_watch_request,
                        sent_as_member: self.is_member,
                    });
                command.last_sent = at;
                command.attempts += 1;
                command.is_answered = false;
                command.sent_during_watch_request = sent_during_watch_request;
                command.sent_as_member = self.is_member;
            }
            _ => {}
        }
    }

    fn on_received(&mut self, at: Moment, message: &Arc<ServerMessage>) {
        match &**message {
            ServerMessage::Watching { seq, online, .. } => self.on_watching(*seq, online),
            ServerMessage::Snapshot {
                seq, online, state, ..
            } => {
                self.on_snapshot(*seq, online, state);
                self.summary.snapshots.push((*seq, Arc::clone(message)));
            }
            ServerMessage::Unwatched { reason, .. } => {
                if *reason != UnwatchReason::Asked {
                    self.check_membership("unwatched", self.watched_as_member);
                }
                if matches!(reason, UnwatchReason::Left | UnwatchReason::Kicked) {
                    self.former_member_since = Some(at);
                }
                self.watch = WatchState::Off;
            }
            ServerMessage::Event { event, .. } => self.on_event(at, event, message),
            ServerMessage::Presence {
                online, offline, ..
            } => {
                if self.watch == WatchState::Off {
                    return self.report(ViolationKind::NotWatching { what: "presence" });
                }
                self.online.retain(|player| !offline.contains(player));
                self.online.extend(online);
            }
            ServerMessage::Ack {
                id, seq, duplicate, ..
            } => self.on_ack(at, *id, *seq, *duplicate),
            ServerMessage::Error { re, id, error, .. } => self.on_refusal(at, re, *id, error),
            _ => {}
        }
    }

    fn on_watching(&mut self, seq: Seq, online: &[PlayerId]) {
        let held = self.fold.seq();
        match self.watch {
            WatchState::Requested {
                since: Some(since), ..
            } => {
                self.summary.resumes += 1;
                self.summary.replays += 1;
                if seq < since {
                    self.report(ViolationKind::SeqWentBack {
                        held: since,
                        got: seq,
                    });
                }
            }
            // Without `since` the client holds nothing that a replay could continue.
            WatchState::Requested { since: None, .. } => {
                self.report(ViolationKind::Gap { held, got: seq })
            }
            WatchState::Off | WatchState::On => self.report(ViolationKind::UnsolicitedAnswer {
                what: "watch".to_owned(),
            }),
        }
        self.watch = WatchState::On;
        self.promised = seq;
        self.online = online.iter().copied().collect();
    }

    fn on_snapshot(&mut self, seq: Seq, online: &[PlayerId], state: &RaidState) {
        match self.watch {
            WatchState::Requested { since, .. } => {
                self.summary.resumes += u64::from(since.is_some())
            }
            WatchState::On => {}
            WatchState::Off => self.report(ViolationKind::NotWatching { what: "snapshot" }),
        }
        self.watch = WatchState::On;
        self.online = online.iter().copied().collect();
        let held = self.fold.seq();
        let promised = self.promised;
        if held < promised {
            self.report(ViolationKind::ReplayBroken { held, promised });
        }
        if seq < held {
            self.report(ViolationKind::SeqWentBack { held, got: seq });
        }
        if seq == held
            && !self.fold_is_invalid
            && let Some(mine) = self.fold.state()
            && mine != state
        {
            let difference = super::difference::first_difference(state, mine);
            self.report(ViolationKind::StateMismatch { seq, difference });
        }
        self.fold.replace(seq, state.clone());
        self.fold_is_invalid = false;
    }

    fn on_event(&mut self, at: Moment, event: &Event, message: &Arc<ServerMessage>) {
        match self.watch {
            WatchState::On => {}
            // An event of the watch that is being replaced.
            WatchState::Requested { again: true, .. } => return,
            WatchState::Off | WatchState::Requested { again: false, .. } => {
                return self.report(ViolationKind::NotWatching { what: "event" });
            }
        }
        let held = self.fold.seq();
        let seq = event.seq;
        if seq <= held {
            let before = self
                .summary
                .events
                .get(&seq)
                .and_then(|(_, message)| event_of(message));
            return match before {
                Some(before) if before != event => {
                    let other = "this client".to_owned();
                    self.report(ViolationKind::DifferentEvent { seq, other });
                }
                _ => self.report(ViolationKind::Duplicate { seq }),
            };
        }
        if seq != held.next() {
            self.report(ViolationKind::Gap { held, got: seq });
        }
        if event.at < self.clock {
            self.report(ViolationKind::ClockWentBack { seq });
        }
        self.clock = self.clock.max(event.at);
        self.summary.events.insert(seq, (at, Arc::clone(message)));
        if let EventData::MemberLeft { player, .. } = &event.data
            && *player == self.log.player
        {
            self.is_member = false;
            // Nothing of the raid follows but the end of the watch, unless the player has returned
            // since: a replay tells of the past.
            if seq > self.promised {
                self.watch = WatchState::Off;
            }
        }
        self.apply_event(event);
    }

    /// Folds an event. After a hole or a contradiction the fold only follows the seq, so that one
    /// fault is reported once.
    fn apply_event(&mut self, event: &Event) {
        let next = event.seq == self.fold.seq().next();
        if next && !self.fold_is_invalid {
            match self.fold.apply(event) {
                Ok(()) => return,
                Err(why) => self.report(ViolationKind::Contradiction {
                    seq: event.seq,
                    why,
                }),
            }
        }
        self.fold_is_invalid = true;
        if let Some(state) = self.fold.state().cloned() {
            self.fold.replace(event.seq, state);
        } else {
            self.fold = Fold::from_snapshot(
                self.log.raid,
                event.seq,
                super::difference::placeholder_state(),
            );
        }
    }

    fn on_ack(&mut self, at: Moment, id: u64, seq: Seq, duplicate: bool) {
        let held = self.fold.seq();
        let Some(command) = self
            .summary
            .commands
            .get_mut(&id)
            .filter(|command| !command.is_answered)
        else {
            return self.report(ViolationKind::UnsolicitedAnswer {
                what: format!("command {id}"),
            });
        };
        command.is_answered = true;
        command.is_refused = false;
        command.ack = Some((at, seq, duplicate));
        command.answered = Some(at);
        // A mute that is in effect already is decided again each time.
        let op = (command.op.clone()).filter(|_| !matches!(command.command, Command::Mute { .. }));
        let sent_during_watch_request = command.sent_during_watch_request;
        let judged = match self.watch {
            WatchState::On => true,
            // The reply to the watch had to come first.
            WatchState::Requested { .. } => sent_during_watch_request,
            WatchState::Off => false,
        };
        if judged && (held < seq || matches!(self.watch, WatchState::Requested { .. })) {
            self.report(ViolationKind::AckBeforeEvent { seq, held });
        }
        if let Some(op) = op {
            self.check_op(&op, seq);
        }
    }

    /// Reports an op that was acknowledged with another seq before.
    fn check_op(&mut self, op: &OpKey, seq: Seq) {
        let first = *self.ops.entry(op.clone()).or_insert(seq);
        if first != seq {
            let op = op.clone();
            let then = seq;
            self.report(ViolationKind::AckChanged { op, first, then });
        }
    }

    fn on_refusal(&mut self, at: Moment, re: &str, id: Option<u64>, error: &ErrorBody) {
        if error.retry != error.r#type.retry() || error.message.is_empty() {
            let text = format!("{} with retry {}", error.r#type.as_str(), error.retry);
            self.report(ViolationKind::ErrorNotTyped { text });
        }
        match re {
            "watch" => self.on_watch_refused(error),
            "do" => self.on_command_refused(at, id, error),
            // Errors of signals that were sent before the player left precede the answer to a watch.
            "signal" if error.r#type == ErrorType::NotMember && self.watch == WatchState::On => {
                self.check_membership("not_member to a signal", self.watched_as_member);
            }
            _ => {}
        }
    }

    fn on_watch_refused(&mut self, error: &ErrorBody) {
        if matches!(self.watch, WatchState::Requested { .. }) {
            // The watch that it would have replaced is gone as well.
            self.watch = WatchState::Off;
        }
        if error.r#type == ErrorType::NotFound {
            self.check_membership("not_found to a watch", self.watched_as_member);
        }
    }

    fn on_command_refused(&mut self, at: Moment, id: Option<u64>, error: &ErrorBody) {
        let command = id
            .and_then(|id| self.summary.commands.get_mut(&id))
            .filter(|command| !command.is_answered);
        match command {
            Some(command) => {
                command.is_answered = true;
                command.is_refused = !error.retry;
                command.answered = (!error.retry).then_some(at);
                let names_no_task = matches!(
                    command.command,
                    Command::Start
                        | Command::Say { .. }
                        | Command::AddTask { .. }
                        | Command::Promote { .. }
                );
                let is_refused_leave =
                    matches!(command.command, Command::Leave) && command.is_refused;
                let was_member = command.sent_as_member;
                if error.r#type != ErrorType::NotFound {
                    if is_refused_leave {
                        self.on_membership_shown(at);
                    }
                } else if names_no_task {
                    self.check_membership("not_found to a command", was_member);
                }
            }
            None => self.report(ViolationKind::UnsolicitedAnswer {
                what: format!("command {id:?}"),
            }),
        }
    }

    fn on_settled(&mut self, head: Seq, online: &[PlayerId]) {
        self.summary.is_settled = true;
        let open: Vec<_> = self
            .summary
            .commands
            .values()
            .filter(|command| command.ack.is_none() && !command.is_refused)
            .map(|d| (d.id, d.command.kind()))
            .collect();
        for (id, command) in open {
            self.report(ViolationKind::Unanswered { id, command });
        }
        match self.watch {
            WatchState::On => {}
            WatchState::Requested { .. } => return self.report(ViolationKind::WatchUnanswered),
            WatchState::Off => {
                if !self.summary.has_given_up && !self.facts.is_removed(self.log.player) {
                    self.report(ViolationKind::WatchLost);
                }
                return;
            }
        }
        let held = self.fold.seq();
        if held < head {
            self.report(ViolationKind::IncompleteAtEnd { held, head });
        }
        let expected: BTreeSet<_> = online.iter().copied().collect();
        let state = self.fold.state();
        let is_right = |state| self.facts.is_presence_right(&self.online, &expected, state);
        if !state.is_some_and(is_right) {
            let shown = self.online.iter().copied().collect();
            let online = online.to_vec();
            self.report(ViolationKind::PresenceWrong { shown, online });
        }
    }
}
