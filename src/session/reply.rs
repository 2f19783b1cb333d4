//! A reply that is always given, even if the session drops it or panics.

use crate::error::Error;
use crate::telemetry::TraceSpan;

/// The answer to one request, sent exactly once. Dropping it sends `unavailable`, because the
/// request may or may not have taken effect.
pub struct Reply<T>(Option<ReplyFn<T>>, TraceSpan);

type ReplyFn<T> = Box<dyn FnOnce(Result<T, Error>) + Send + Sync>;

impl<T> Reply<T> {
    /// Creates a reply that passes its result to `answer`, which is called exactly once.
    pub fn new(answer: impl FnOnce(Result<T, Error>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(answer)), TraceSpan::disabled())
    }

    /// Attaches a trace span, which receives the request's later events.
    pub fn with_trace(self, trace: TraceSpan) -> Self {
        let mut this = self;
        Self(this.0.take(), trace)
    }

    /// Adds an event to the request's trace span.
    pub fn trace_event(&self, what: &'static str) {
        self.1.annotate(what);
    }

    /// Sends the result and consumes the reply.
    pub fn send(mut self, result: Result<T, Error>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(Error::Unavailable));
        }
    }
}
