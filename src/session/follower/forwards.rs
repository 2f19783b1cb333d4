//! Commands on their way to the raid's owner: in order, one bundle at a time, sent again until they are answered.
//!
//! A bundle keeps its number while it goes to one owner, so that the owner answers a repetition without deciding
//! anew. To another owner it goes under a new number: what took effect is known there by its op, and what was refused
//! left no trace.

use std::collections::VecDeque;
use std::time::Duration;

use raidhall_protocol::Seq;
use tokio::time::{Instant, sleep_until};

use crate::cluster::client::{About, Forwarding, Link};
use crate::cluster::message::{ForwardAnswer, Item, Note, Wish};
use crate::error::Error;
use crate::session::create::random;
use crate::session::message::{Execute, Message};
use crate::session::{Ack, Reply};
use crate::store::{InstanceId, OpHash};
use crate::telemetry::metrics;

/// Commands in one bundle.
const BUNDLE: usize = 64;
/// Bytes of commands in one bundle, and of one command: far below what the bus takes, far above what any rule accepts.
const BUNDLE_BYTES: usize = 256 * 1_024;
/// Commands that may wait; beyond that the inbox is not read, and fills.
const WAITING_MAX: usize = 1_024;
/// How long an answer may take before the bundle is sent again.
const RESEND: Duration = Duration::from_millis(700);

#[derive(Default)]
pub(super) struct Forwards {
    waiting: VecDeque<Parked>,
    flight: Option<Flight>,
}

struct Parked {
    item: Item,
    bytes: usize,
    reply: Reply<Ack>,
    until: Instant,
}

/// A bundle under way. Who has waited too long is answered, and its place stays empty.
struct Flight {
    forwarding: Forwarding,
    items: Vec<Item>,
    parked: Vec<Option<Parked>>,
    resend_at: Instant,
}

/// What a bundle's answers mean for the edge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The newest seq acknowledged.
    pub(super) acknowledged: Option<Seq>,
    /// Some are to be sent again: whoever was asked does not own the raid, or could not carry them out.
    pub(super) again: bool,
}

impl Forwards {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_none()
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Lets a command wait for the owner, for as long as it may.
    pub(super) fn park(&mut self, execute: Execute) {
        let Execute {
            command,
            op,
            reply,
            until,
            ..
        } = execute;
        reply.note("forwarded");
        let Some(wish) = Wish::of(command) else {
            return reply.send(Err(Error::Internal));
        };
        // Without a key of the client's it gets one of ours, so that sending it again is safe; that it was then known
        // is nothing to the client.
        let (op, reply) = match op {
            Some(op) => (op, reply),
            None => {
                let Ok(drawn) = random() else {
                    return reply.send(Err(Error::Internal));
                };
                let reply = |result: Result<Ack, _>| {
                    reply.send(result.map(|ack| Ack {
                        duplicate: false,
                        ..ack
                    }))
                };
                (OpHash(drawn), Reply::new(reply))
            }
        };
        let item = Item { op, wish };
        match item.bytes() {
            bytes if bytes > BUNDLE_BYTES => reply.send(Err(Error::TooLarge)),
            bytes => self.waiting.push_back(Parked {
                item,
                bytes,
                reply,
                until,
            }),
        }
    }

    /// The first that waits, as many as one bundle takes.
    fn take_bundle(&mut self) -> Vec<Parked> {
        let mut room = BUNDLE_BYTES;
        let fits = |parked: &&Parked| {
            let left = room.checked_sub(parked.bytes);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let count = self.waiting.iter().take(BUNDLE).take_while(fits).count();
        self.waiting.drain(..count).collect()
    }

    /// Sends the next bundle, or again the one under way when it is time. True if it has been sent before.
    pub(super) fn send(&mut self, link: &Link, to: InstanceId, about: About) -> bool {
        let now = Instant::now();
        if self
            .flight
            .as_ref()
            .is_some_and(|flight| flight.forwarding.to() != to)
        {
            self.begin_anew();
        }
        let again = self.flight.is_some();
        match &mut self.flight {
            Some(flight) if flight.resend_at > now => return false,
            Some(_) => metrics().forward_retries.increment(1),
            None if self.waiting.is_empty() => return false,
            None => {
                let bundle = self.take_bundle();
                let items = bundle.iter().map(|parked| parked.item.clone()).collect();
                let parked = bundle.into_iter().map(Some).collect();
                self.flight = Some(Flight {
                    forwarding: link.forward(to),
                    items,
                    parked,
                    resend_at: now,
                });
            }
        }
        let Some(flight) = &mut self.flight else {
            return false;
        };
        flight.resend_at = now + RESEND;
        let last = flight
            .parked
            .iter()
            .flatten()
            .map(|parked| parked.until)
            .max()
            .unwrap_or(now);
        let remaining_ms =
            u64::try_from(last.saturating_duration_since(now).as_millis()).unwrap_or(0);
        let request = flight.forwarding.number();
        link.tell(
            to,
            about,
            Note::Forward {
                request,
                remaining_ms,
                items: flight.items.clone(),
            },
        );
        again
    }

    /// The answers to the bundle under way. May be dropped and asked for again.
    pub(super) async fn answers(&mut self) -> Vec<ForwardAnswer> {
        match &mut self.flight {
            Some(flight) => flight.forwarding.answers().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the answers out. What nobody took on waits again, in its order; if `patient`, so does what was
    /// `unavailable`. But nothing is carried out after what was asked for later: whatever stands before a command that was
    /// decided is `unavailable` for good.
    pub(super) fn take_answers(&mut self, answers: Vec<ForwardAnswer>, patient: bool) -> Taken {
        let Some(flight) = self.flight.take() else {
            return Taken::default();
        };
        let (mut taken, mut again) = (Taken::default(), Vec::new());
        let answers = answers
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let answers = answers
            .take(flight.parked.len())
            .map(|given| given.unwrap_or(ForwardAnswer::NotOwner));
        let answers = answers.collect::<Vec<_>>();
        let undecided = answers
            .iter()
            .rposition(|it| !it.is_undecided())
            .map_or(0, |last| last + 1);
        for (index, (parked, answer)) in flight.parked.into_iter().zip(answers).enumerate() {
            if let ForwardAnswer::Ack { seq, .. } = answer {
                taken.acknowledged = taken.acknowledged.max(Some(seq));
            }
            let Some(parked) = parked else { continue };
            match answer.result() {
                Err(Error::NotOwner) if index >= undecided => again.push(parked),
                Err(Error::Unavailable) if index >= undecided && patient => again.push(parked),
                result => {
                    metrics()
                        .forwards
                        .increment(if result.is_ok() { "ack" } else { "refused" });
                    parked.reply.send(result);
                }
            }
        }
        taken.again = !again.is_empty();
        if taken.again {
            metrics().forwards.increment("again");
        }
        again
            .into_iter()
            .rev()
            .for_each(|parked| self.waiting.push_front(parked));
        taken
    }

    /// The bundle under way goes to whoever owns the raid now.
    pub(super) fn begin_anew(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight
                .parked
                .into_iter()
                .flatten()
                .rev()
                .for_each(|parked| self.waiting.push_front(parked));
        }
    }

    /// Tells those who have waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let late = |parked: &Parked| parked.until <= now;
        let mut over = Vec::new();
        if self.waiting.iter().any(late) {
            for parked in std::mem::take(&mut self.waiting) {
                if late(&parked) {
                    over.push(parked)
                } else {
                    self.waiting.push_back(parked)
                }
            }
        }
        if let Some(flight) = &mut self.flight {
            over.extend(
                flight
                    .parked
                    .iter_mut()
                    .filter_map(|place| place.take_if(|parked| late(parked))),
            );
            if flight.parked.iter().all(Option::is_none) {
                self.flight = None;
            }
        }
        for parked in over {
            metrics().forwards.increment("expired");
            parked.reply.send(Err(Error::Unavailable));
        }
    }

    /// Waits for something else, and tells those meanwhile whose time runs out.
    pub(super) async fn expiring<T>(&mut self, something: impl Future<Output = T>) -> T {
        tokio::pin!(something);
        loop {
            let parked = self
                .waiting
                .iter()
                .chain(self.flight.iter().flat_map(|it| it.parked.iter().flatten()));
            let next = parked.map(|parked| parked.until).min();
            tokio::select! { biased;
                done = &mut something => return done,
                () = at(next) => self.expire(Instant::now()),
            }
        }
    }

    pub(super) fn fail_all(&mut self, error: &Error) {
        self.begin_anew();
        self.waiting
            .drain(..)
            .for_each(|parked| parked.reply.send(Err(error.clone())));
    }

    /// Everything that is not answered, as it was asked for.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        self.begin_anew();
        let message = |Parked {
                           item: Item { op, wish },
                           reply,
                           until,
                           ..
                       }| {
            let (command, op) = (wish.command(), Some(op));
            Message::Execute(Execute {
                command,
                op,
                reply,
                until,
                from: None,
            })
        };
        self.waiting.drain(..).map(message).collect()
    }

    /// When something is to be done though nobody answers.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|parked| parked.until).min();
        let flight = self.flight.as_ref().map(|flight| {
            flight
                .parked
                .iter()
                .flatten()
                .map(|parked| parked.until)
                .fold(flight.resend_at, Instant::min)
        });
        waiting.into_iter().chain(flight).min()
    }
}

/// Waits until a moment; for ever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
