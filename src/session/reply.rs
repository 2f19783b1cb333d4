//! An answer that is always given, whatever becomes of the session.

use crate::error::Error;

/// Where one answer goes. Dropping it answers too: with `internal` while a panic unwinds (this request is the one
/// that caused it), else with `unavailable`.
pub struct Reply<T>(Option<Answer<T>>);

type Answer<T> = Box<dyn FnOnce(Result<T, Error>) + Send + Sync>;

impl<T> Reply<T> {
    /// Answers through a function, called exactly once.
    pub fn new(answer: impl FnOnce(Result<T, Error>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(answer)))
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
            answer(Err(if std::thread::panicking() { Error::Internal } else { Error::Unavailable }));
        }
    }
}
