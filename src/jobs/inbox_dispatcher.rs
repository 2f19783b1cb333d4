//! Receives what the bus delivers, and hands it to whom it concerns. Nothing that comes this way is trusted before its
//! seal is checked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::{RaidId, Seq};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::cluster::bus::{Channel, Deliveries, Delivery};
use crate::cluster::client::{About, Heard, Link, Sight};
use crate::cluster::message::{Envelope, ForwardAnswer, Item, Note, Unreadable, Watching};
use crate::error::Error;
use crate::session::{COMMAND_WAIT_MAX, Reply, Sessions};
use crate::store::{Epoch, InstanceId};
use crate::telemetry::metrics;

/// Bundles of forwarded commands that are remembered with their answers: many times as many as can come in while one
/// is still sent again.
const REMEMBERED: usize = 16_384;

/// What receiving needs.
pub struct Post {
    link: Link,
    sessions: Sessions,
    /// Wakes the poll of heads: something may have been missed about any raid.
    heads: Arc<Notify>,
    answers: Arc<Answers>,
}

impl Post {
    /// A post that has received nothing.
    pub fn new(link: Link, sessions: Sessions, heads: Arc<Notify>) -> Post {
        Post {
            link,
            sessions,
            heads,
            answers: Arc::default(),
        }
    }

    /// Receives until the bus is gone.
    pub async fn run(self, mut deliveries: Deliveries) {
        while let Some(delivery) = deliveries.next().await {
            match delivery {
                Delivery::Message(channel, message) => self.receive(channel, &message),
                Delivery::Lost(Channel::Events(raid) | Channel::Live(raid)) => {
                    self.link.hand(raid, Heard::Lost);
                }
                // Whoever waits for an answer asks again.
                Delivery::Lost(Channel::Inbox(_)) => {}
                Delivery::LostAll => self.heads.notify_one(),
            }
        }
    }

    fn receive(&self, channel: Channel, message: &[u8]) {
        match self.link.open(channel, message) {
            // What we said ourselves comes back to us too.
            Ok(envelope) if envelope.from == self.link.instance() => {}
            Ok(envelope) => match channel {
                Channel::Events(raid) | Channel::Live(raid) => self.receive_said(raid, envelope),
                Channel::Inbox(_) => self.receive_own(envelope),
            },
            Err(unreadable) => {
                metrics().bus_rejected.increment(unreadable.cause());
                match unreadable {
                    // Whatever it says, the store says it too; what is newer than we are is not ours to serve.
                    Unreadable::Newer { raid } => {
                        self.sessions.mark_follow_only(raid);
                        self.link.hand(raid, Heard::Lost);
                    }
                    Unreadable::Seal | Unreadable::Malformed | Unreadable::Old => {
                        debug!(%channel, %unreadable, "a message of the bus is dropped");
                    }
                }
            }
        }
    }

    fn receive_said(&self, raid: RaidId, envelope: Envelope) {
        match envelope.note {
            Note::Signal { from, kind, data } => {
                self.sessions.deliver_signal(raid, from, &kind, data)
            }
            _ => self.link.hand(raid, Heard::Said(envelope)),
        }
    }

    fn receive_own(&self, envelope: Envelope) {
        let Envelope {
            from,
            at,
            raid,
            epoch,
            ref note,
            ..
        } = envelope;
        match note {
            Note::Answers { .. } | Note::Seen { .. } => self.link.answered(envelope),
            Note::Watching(watching) => {
                self.sessions
                    .receive_watcher_report(raid, from, at, watching.clone())
            }
            Note::WhoWatches => {
                if !self.sessions.request_watcher_report(raid) {
                    let about = About {
                        raid,
                        epoch,
                        seq: Seq::ZERO,
                    };
                    self.link
                        .tell(from, about, Note::Watching(Watching::default()));
                }
            }
            Note::Take(online) => self.sessions.accept_handover(raid, from, online.clone()),
            Note::Forward {
                request,
                remaining_ms,
                items,
            } => {
                let until =
                    Instant::now() + Duration::from_millis(*remaining_ms).min(COMMAND_WAIT_MAX);
                self.carry_out(
                    Bundle {
                        from,
                        raid,
                        epoch,
                        request: *request,
                    },
                    items.clone(),
                    until,
                );
            }
            Note::Ask { request } => self.look(from, raid, *request),
            _ => warn!(note = note.kind(), "a note for everybody came to our inbox"),
        }
    }

    /// Hands forwarded commands in, in their order, and answers when all are answered. A bundle that is known is not
    /// decided anew: its sender may have told somebody already what became of it.
    fn carry_out(&self, bundle: Bundle, items: Vec<Item>, until: Instant) {
        match self.answers.begin(bundle) {
            Known::No => {}
            Known::UnderWay => return,
            Known::Answered(answers) => return answer(&self.link, bundle, answers),
        }
        let collector = Arc::new(Collector {
            bundle,
            link: self.link.clone(),
            known: Arc::clone(&self.answers),
            answers: Mutex::new(vec![None; items.len()]),
        });
        for (index, Item { op, wish }) in items.into_iter().enumerate() {
            let collector = Arc::clone(&collector);
            let reply = Reply::new(move |result| collector.put(index, ForwardAnswer::of(result)));
            self.sessions.submit_forwarded(
                bundle.raid,
                bundle.from,
                wish.command(),
                op,
                until,
                reply,
            );
        }
    }

    fn look(&self, from: InstanceId, raid: RaidId, request: u64) {
        let link = self.link.clone();
        let reply = Reply::new(move |result: Result<Sight, Error>| {
            let sight = result.ok();
            let seq = sight.as_ref().map_or(Seq::ZERO, |sight| sight.seq);
            let online = sight.map(|sight| sight.online);
            link.tell(
                from,
                About {
                    raid,
                    epoch: Epoch(0),
                    seq,
                },
                Note::Seen { request, online },
            );
        });
        self.sessions.query_status(raid, reply);
    }
}

/// A bundle of forwarded commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bundle {
    from: InstanceId,
    raid: RaidId,
    epoch: Epoch,
    request: u64,
}

fn answer(link: &Link, bundle: Bundle, answers: Vec<ForwardAnswer>) {
    let Bundle {
        from,
        raid,
        epoch,
        request,
    } = bundle;
    link.tell(
        from,
        About {
            raid,
            epoch,
            seq: Seq::ZERO,
        },
        Note::Answers { request, answers },
    );
}

/// Gathers a bundle's answers, and sends them when all are there.
struct Collector {
    bundle: Bundle,
    link: Link,
    known: Arc<Answers>,
    answers: Mutex<Vec<Option<ForwardAnswer>>>,
}

impl Collector {
    fn put(&self, index: usize, given: ForwardAnswer) {
        let whole: Option<Vec<_>> = {
            let mut answers = self.answers.lock();
            answers[index] = Some(given);
            answers.iter().cloned().collect()
        };
        if let Some(answers) = whole {
            self.known.end(self.bundle, &answers);
            answer(&self.link, self.bundle, answers);
        }
    }
}

/// The latest bundles and what became of them, so that a repetition gets the first answer.
#[derive(Default)]
struct Answers(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    known: HashMap<(InstanceId, u64), Option<Vec<ForwardAnswer>>>,
    order: VecDeque<(InstanceId, u64)>,
}

/// What is known of a bundle.
#[derive(Debug, PartialEq)]
enum Known {
    No,
    UnderWay,
    Answered(Vec<ForwardAnswer>),
}

impl Answers {
    /// Notes that a bundle is carried out, unless it is known.
    fn begin(&self, bundle: Bundle) -> Known {
        let key = (bundle.from, bundle.request);
        let mut remembered = self.0.lock();
        match remembered.known.get(&key) {
            Some(Some(answers)) => return Known::Answered(answers.clone()),
            Some(None) => return Known::UnderWay,
            None => {}
        }
        remembered.known.insert(key, None);
        remembered.order.push_back(key);
        if remembered.order.len() > REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.known.remove(&oldest);
        }
        Known::No
    }

    fn end(&self, bundle: Bundle, answers: &[ForwardAnswer]) {
        if let Some(known) = self.0.lock().known.get_mut(&(bundle.from, bundle.request)) {
            *known = Some(answers.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_bundle_that_comes_again_gets_the_first_answer() {
        let answers = Answers::default();
        let bundle = |request| Bundle {
            from: InstanceId(Uuid::from_u128(1)),
            raid: RaidId::try_from(7_u64).expect("an id"),
            epoch: Epoch(1),
            request,
        };
        assert_eq!(answers.begin(bundle(1)), Known::No);
        assert_eq!(answers.begin(bundle(1)), Known::UnderWay);
        answers.end(bundle(1), &[ForwardAnswer::NotOwner]);
        assert_eq!(
            answers.begin(bundle(1)),
            Known::Answered(vec![ForwardAnswer::NotOwner])
        );
        assert_eq!(answers.begin(bundle(2)), Known::No);
        (3..3 + REMEMBERED as u64).for_each(|request| drop(answers.begin(bundle(request))));
        assert_eq!(answers.0.lock().known.len(), REMEMBERED, "bounded");
    }
}
