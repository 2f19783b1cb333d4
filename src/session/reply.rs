//! An answer that is always given, whatever becomes of the session.

use crate::error::Error;
use crate::telemetry::TraceSpan;

/// Where one answer goes. Dropping it answers too: with `unavailable`, for what then became of the request is unknown.
pub struct Reply<T>(Option<ReplyFn<T>>, TraceSpan);

type ReplyFn<T> = Box<dyn FnOnce(Result<T, Error>) + Send + Sync>;

impl<T> Reply<T> {
    /// Answers through a function, called exactly once.
    pub fn new(answer: impl FnOnce(Result<T, Error>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(answer)), TraceSpan::disabled())
    }

    /// Tells of what happens to the request on its way.
    pub fn with_trace(self, trace: TraceSpan) -> Self {
        let mut this = self;
        Self(this.0.take(), trace)
    }

    /// Marks a moment on the way.
    pub fn trace_event(&self, what: &'static str) {
        self.1.annotate(what);
    }

    /// Gives the answer.
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
