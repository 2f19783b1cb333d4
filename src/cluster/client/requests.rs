//! Questions to other instances that wait for their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use raidhall_protocol::{PlayerId, Seq};
use tokio::sync::oneshot;

use crate::cluster::message::{Envelope, ForwardAnswer, Note};
use crate::store::InstanceId;

/// A raid as its owner sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The newest committed seq.
    pub seq: Seq,
    /// Who is online.
    pub online: Vec<PlayerId>,
}

#[derive(Default)]
pub(super) struct Questions {
    waiting: DashMap<u64, Question>,
    next: AtomicU64,
}

/// Who was asked, and who waits.
struct Question {
    to: InstanceId,
    answer: Waiting,
}

enum Waiting {
    Forward(oneshot::Sender<Vec<ForwardAnswer>>),
    Ask(oneshot::Sender<Option<Sight>>),
}

/// A question's number, forgotten when dropped: an answer that comes later is nobody's.
pub(super) struct Number {
    questions: Arc<Questions>,
    number: u64,
}

impl Number {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.questions.waiting.remove(&self.number);
    }
}

/// Commands on their way to an owner.
pub struct Forwarding {
    number: Number,
    to: InstanceId,
    answers: oneshot::Receiver<Vec<ForwardAnswer>>,
}

impl Forwarding {
    /// The number under which the owner answers, and by which it knows a repetition.
    pub const fn number(&self) -> u64 {
        self.number.number
    }

    /// Who was asked.
    pub const fn to(&self) -> InstanceId {
        self.to
    }

    /// The answers. May be dropped and asked for again.
    pub async fn answers(&mut self) -> Vec<ForwardAnswer> {
        match (&mut self.answers).await {
            Ok(answers) => answers,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Questions {
    fn wait(self: &Arc<Self>, to: InstanceId, answer: Waiting) -> Number {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.insert(number, Question { to, answer });
        Number {
            questions: Arc::clone(self),
            number,
        }
    }

    pub(super) fn forward(self: &Arc<Self>, to: InstanceId) -> Forwarding {
        let (sender, answers) = oneshot::channel();
        Forwarding {
            number: self.wait(to, Waiting::Forward(sender)),
            to,
            answers,
        }
    }

    pub(super) fn ask(
        self: &Arc<Self>,
        to: InstanceId,
    ) -> (Number, oneshot::Receiver<Option<Sight>>) {
        let (sender, answer) = oneshot::channel();
        (self.wait(to, Waiting::Ask(sender)), answer)
    }

    /// Takes an answer, from whom it was asked of only: a former owner's late word is not an answer to a question that
    /// was put anew.
    pub(super) fn answered(&self, envelope: Envelope) {
        let (Note::Answers { request, .. } | Note::Seen { request, .. }) = envelope.note else {
            return;
        };
        let asked = |_: &u64, question: &Question| question.to == envelope.from;
        let Some((_, question)) = self.waiting.remove_if(&request, asked) else {
            return;
        };
        // Whoever asked may be gone.
        match (envelope.note, question.answer) {
            (Note::Answers { answers, .. }, Waiting::Forward(waiting)) => {
                drop(waiting.send(answers))
            }
            (Note::Seen { online, .. }, Waiting::Ask(waiting)) => {
                drop(waiting.send(online.map(|online| Sight {
                    seq: envelope.seq,
                    online,
                })));
            }
            _ => {}
        }
    }
}
