//! What one client was told, judged by itself: contiguity, order, acks, answers.
//!
//! The contract is judged per connection, because it is given per connection: an ack follows its event *on a
//! connection that watches the raid*. What the client holds outlives its connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raidhall_protocol::{
    ClientMessage, Command, ErrorBody, Event, OpKey, PlayerId, RaidState, Seq, ServerMessage,
    UnixMillis,
};

use super::violation::{Breach, Violation};
use crate::fold::Fold;
use crate::ledger::{Entry, Ledger, Moment};

/// One command of one client, with everything that came of it.
#[derive(Debug, Clone)]
pub struct Deed {
    /// The correlation number.
    pub id: u64,
    /// Its key.
    pub op: Option<OpKey>,
    /// What was asked.
    pub command: Command,
    /// When it was first sent.
    pub first_sent: Moment,
    /// When it was last sent before the answer.
    pub last_sent: Moment,
    /// How often it was sent.
    pub tries: u32,
    /// When it was acknowledged, at which seq, and whether as a repeat.
    pub ack: Option<(Moment, Seq, bool)>,
    /// Whether its last answer was a refusal that no retry can change.
    pub refused: bool,
    /// Which server the client was connected to when it was first sent.
    pub server: usize,
    /// Whether the connection was lost before it was acknowledged.
    pub torn: bool,
    answered: bool,
    sent_while_asked: bool,
}

/// What is known of one client after its ledger was read.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every event it accepted, and when.
    pub events: BTreeMap<Seq, (Moment, Arc<ServerMessage>)>,
    /// Every snapshot it got.
    pub snapshots: Vec<(Seq, Arc<ServerMessage>)>,
    /// Its commands, by correlation number.
    pub deeds: BTreeMap<u64, Deed>,
    /// What it was told wrongly.
    pub violations: Vec<Violation>,
    /// Watches with `since`.
    pub resumes: u64,
    /// Those of them answered by `watching`.
    pub replays: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// Not on this connection.
    Off,
    /// Asked; `again` when it was on before, so that late events are to be discarded.
    Asked { since: Option<Seq>, again: bool },
    /// Events come.
    On,
}

struct Reader<'a> {
    ledger: &'a Ledger,
    watch: Watch,
    fold: Fold,
    broken: bool,
    clock: UnixMillis,
    online: BTreeSet<PlayerId>,
    lineage: Option<&'a str>,
    server: usize,
    ops: BTreeMap<OpKey, Seq>,
    seen: Seen,
}

/// Reads a ledger from its first line to its last.
pub(super) fn read(ledger: &Ledger) -> Seen {
    let mut reader = Reader {
        ledger,
        watch: Watch::Off,
        fold: Fold::new(ledger.raid),
        broken: false,
        clock: UnixMillis(i64::MIN),
        online: BTreeSet::new(),
        lineage: None,
        server: 0,
        ops: BTreeMap::new(),
        seen: Seen::default(),
    };
    for record in ledger.records() {
        reader.take(record.at, &record.entry);
    }
    reader.seen
}

/// The event in a message that is one.
pub(super) fn event_of(message: &ServerMessage) -> Option<&Event> {
    match message {
        ServerMessage::Event { event, .. } => Some(event),
        _ => None,
    }
}

/// The state in a message that is a snapshot.
pub(super) fn state_of(message: &ServerMessage) -> Option<&RaidState> {
    match message {
        ServerMessage::Snapshot { state, .. } => Some(state),
        _ => None,
    }
}

impl<'a> Reader<'a> {
    fn convict(&mut self, breach: Breach) {
        let (raid, client) = (self.ledger.raid, self.ledger.client.clone());
        self.seen.violations.push(Violation {
            raid,
            client,
            breach,
        });
    }

    fn take(&mut self, at: Moment, entry: &'a Entry) {
        match entry {
            Entry::Connected { lineage, server } => {
                self.server = *server;
                self.connected(lineage);
            }
            Entry::Disconnected { code } => {
                self.watch = Watch::Off;
                let open = self
                    .seen
                    .deeds
                    .values_mut()
                    .filter(|deed| deed.ack.is_none() && !deed.refused);
                open.for_each(|deed| deed.torn = true);
                if let Some(code @ (4000..=4099 | 1002 | 1007 | 1009)) = *code
                    && code != 4001
                {
                    self.convict(Breach::ClosedForGood { code });
                }
            }
            Entry::Sent(message) => self.sent(at, message),
            Entry::Received(message) => self.received(at, message),
            Entry::Unreadable { text, error: true } => {
                self.convict(Breach::ErrorNotTyped { text: text.clone() });
            }
            Entry::Unreadable { text, error: false } => {
                self.convict(Breach::UnknownMessage { text: text.clone() });
            }
            Entry::SignalWrong { from } => self.convict(Breach::SignalWrong { from: *from }),
            Entry::Settled { head, online } => self.settled(*head, online),
        }
    }

    fn connected(&mut self, lineage: &'a str) {
        self.watch = Watch::Off;
        if self.lineage.is_some_and(|known| known != lineage) {
            self.convict(Breach::LineageChanged);
        }
        self.lineage = Some(lineage);
    }

    fn sent(&mut self, at: Moment, message: &ClientMessage) {
        match message {
            ClientMessage::Watch { since, .. } => {
                let again = match self.watch {
                    Watch::Off => false,
                    Watch::On => true,
                    Watch::Asked { again, .. } => again,
                };
                self.watch = Watch::Asked {
                    since: *since,
                    again,
                };
            }
            ClientMessage::Do { id, op, cmd, .. } => {
                let sent_while_asked = matches!(self.watch, Watch::Asked { .. });
                let deed = self.seen.deeds.entry(*id).or_insert_with(|| Deed {
                    id: *id,
                    op: op.clone(),
                    command: cmd.clone(),
                    first_sent: at,
                    last_sent: at,
                    tries: 0,
                    ack: None,
                    refused: false,
                    server: self.server,
                    torn: false,
                    answered: false,
                    sent_while_asked,
                });
                deed.last_sent = at;
                deed.tries += 1;
                deed.answered = false;
                deed.sent_while_asked = sent_while_asked;
            }
            _ => {}
        }
    }

    fn received(&mut self, at: Moment, message: &Arc<ServerMessage>) {
        match &**message {
            ServerMessage::Watching { seq, online, .. } => self.watching(*seq, online),
            ServerMessage::Snapshot {
                seq, online, state, ..
            } => {
                self.snapshot(*seq, online, state);
                self.seen.snapshots.push((*seq, Arc::clone(message)));
            }
            ServerMessage::Unwatched { .. } => self.watch = Watch::Off,
            ServerMessage::Event { event, .. } => self.event(at, event, message),
            ServerMessage::Presence {
                online, offline, ..
            } => {
                if self.watch == Watch::Off {
                    return self.convict(Breach::NotWatching { what: "presence" });
                }
                self.online.retain(|player| !offline.contains(player));
                self.online.extend(online);
            }
            ServerMessage::Ack {
                id, seq, duplicate, ..
            } => self.ack(at, *id, *seq, *duplicate),
            ServerMessage::Error { re, id, error, .. } => self.refusal(re, *id, error),
            _ => {}
        }
    }

    fn watching(&mut self, seq: Seq, online: &[PlayerId]) {
        let held = self.fold.seq();
        match self.watch {
            Watch::Asked {
                since: Some(since), ..
            } => {
                self.seen.resumes += 1;
                self.seen.replays += 1;
                if seq < since {
                    self.convict(Breach::BackInTime {
                        held: since,
                        got: seq,
                    });
                }
            }
            // Without `since` a client holds nothing that a replay could follow.
            Watch::Asked { since: None, .. } => self.convict(Breach::Hole { held, got: seq }),
            Watch::Off | Watch::On => self.convict(Breach::Unasked {
                what: "watch".to_owned(),
            }),
        }
        self.watch = Watch::On;
        self.online = online.iter().copied().collect();
    }

    fn snapshot(&mut self, seq: Seq, online: &[PlayerId], state: &RaidState) {
        match self.watch {
            Watch::Asked { since, .. } => self.seen.resumes += u64::from(since.is_some()),
            Watch::On => {}
            Watch::Off => self.convict(Breach::NotWatching { what: "snapshot" }),
        }
        self.watch = Watch::On;
        self.online = online.iter().copied().collect();
        let held = self.fold.seq();
        if seq < held {
            self.convict(Breach::BackInTime { held, got: seq });
        }
        if seq == held
            && !self.broken
            && let Some(mine) = self.fold.state()
            && mine != state
        {
            let difference = super::difference::first(state, mine);
            self.convict(Breach::StateMismatch { seq, difference });
        }
        self.fold.replace(seq, state.clone());
        self.broken = false;
    }

    fn event(&mut self, at: Moment, event: &Event, message: &Arc<ServerMessage>) {
        match self.watch {
            Watch::On => {}
            Watch::Asked { again: true, .. } => return, // of the watch that is being replaced
            Watch::Off | Watch::Asked { again: false, .. } => {
                return self.convict(Breach::NotWatching { what: "event" });
            }
        }
        let (held, seq) = (self.fold.seq(), event.seq);
        if seq <= held {
            let before = self
                .seen
                .events
                .get(&seq)
                .and_then(|(_, message)| event_of(message));
            return match before {
                Some(before) if before != event => {
                    let other = "this client".to_owned();
                    self.convict(Breach::DifferentEvent { seq, other });
                }
                _ => self.convict(Breach::Duplicate { seq }),
            };
        }
        if seq != held.next() {
            self.convict(Breach::Hole { held, got: seq });
        }
        if event.at < self.clock {
            self.convict(Breach::ClockBack { seq });
        }
        self.clock = self.clock.max(event.at);
        self.seen.events.insert(seq, (at, Arc::clone(message)));
        self.fold_in(event);
    }

    /// After a hole, or a contradiction, the fold follows in seq only: one fault is convicted once.
    fn fold_in(&mut self, event: &Event) {
        let next = event.seq == self.fold.seq().next();
        if next && !self.broken {
            match self.fold.apply(event) {
                Ok(()) => return,
                Err(why) => self.convict(Breach::Contradiction {
                    seq: event.seq,
                    why,
                }),
            }
        }
        self.broken = true;
        if let Some(state) = self.fold.state().cloned() {
            self.fold.replace(event.seq, state);
        } else {
            self.fold =
                Fold::from_snapshot(self.ledger.raid, event.seq, super::difference::nothing());
        }
    }

    fn ack(&mut self, at: Moment, id: u64, seq: Seq, duplicate: bool) {
        let held = self.fold.seq();
        let Some(deed) = self.seen.deeds.get_mut(&id).filter(|deed| !deed.answered) else {
            return self.convict(Breach::Unasked {
                what: format!("command {id}"),
            });
        };
        (deed.answered, deed.refused, deed.ack) = (true, false, Some((at, seq, duplicate)));
        let (op, sent_while_asked) = (deed.op.clone(), deed.sent_while_asked);
        let judged = match self.watch {
            Watch::On => true,
            Watch::Asked { .. } => sent_while_asked, // the answer to the watch had to come first
            Watch::Off => false,
        };
        if judged && (held < seq || matches!(self.watch, Watch::Asked { .. })) {
            self.convict(Breach::AckBeforeEvent { seq, held });
        }
        if let Some(op) = op {
            let first = *self.ops.entry(op.clone()).or_insert(seq);
            if first != seq {
                self.convict(Breach::AckChanged {
                    op,
                    first,
                    then: seq,
                });
            }
        }
    }

    fn refusal(&mut self, re: &str, id: Option<u64>, error: &ErrorBody) {
        if error.retry != error.r#type.retry() || error.message.is_empty() {
            let text = format!("{} with retry {}", error.r#type.as_str(), error.retry);
            self.convict(Breach::ErrorNotTyped { text });
        }
        if re == "watch"
            && let Watch::Asked { again, .. } = self.watch
        {
            self.watch = if again { Watch::On } else { Watch::Off };
        }
        if re != "do" {
            return;
        }
        let deed = id
            .and_then(|id| self.seen.deeds.get_mut(&id))
            .filter(|deed| !deed.answered);
        match deed {
            Some(deed) => (deed.answered, deed.refused) = (true, !error.retry),
            None => self.convict(Breach::Unasked {
                what: format!("command {id:?}"),
            }),
        }
    }

    fn settled(&mut self, head: Seq, online: &[PlayerId]) {
        let open: Vec<_> = self
            .seen
            .deeds
            .values()
            .filter(|deed| !deed.answered)
            .map(|d| (d.id, d.command.kind()))
            .collect();
        for (id, command) in open {
            self.convict(Breach::Unanswered { id, command });
        }
        if self.watch != Watch::On {
            return;
        }
        let held = self.fold.seq();
        if held < head {
            self.convict(Breach::Behind { held, head });
        }
        let should: BTreeSet<_> = online.iter().copied().collect();
        if self.online != should {
            let (shown, online) = (self.online.iter().copied().collect(), online.to_vec());
            self.convict(Breach::PresenceWrong { shown, online });
        }
    }
}
