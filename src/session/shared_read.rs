//! A read of the store that answers all requests that waited for it.

use std::future::pending;

use futures_util::future::BoxFuture;

/// At most one read in flight, and the requests that need one. A request that arrives while a read is
/// in flight waits for the next one: only a read that began later can know what the request's
/// sender knew.
pub(super) struct SharedRead<R, T> {
    waiting: Vec<R>,
    inflight: Option<(Vec<R>, BoxFuture<'static, T>)>,
}

impl<R, T> Default for SharedRead<R, T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            inflight: None,
        }
    }
}

impl<R, T> SharedRead<R, T> {
    /// Adds a request that waits for the next read.
    pub(super) fn add(&mut self, request: R) {
        self.waiting.push(request);
    }

    /// Returns the waiting requests, oldest first: those of the read in flight, then those of the
    /// next one.
    pub(super) fn requests(&self) -> impl Iterator<Item = &R> {
        let inflight = self.inflight.iter().flat_map(|(requests, _)| requests);
        inflight.chain(&self.waiting)
    }

    pub(super) fn is_inflight(&self) -> bool {
        self.inflight.is_some()
    }

    /// Returns whether requests wait for a read that can begin now.
    pub(super) fn is_due(&self) -> bool {
        self.inflight.is_none() && !self.waiting.is_empty()
    }

    /// Begins a read for all waiting requests. None may be in flight.
    pub(super) fn begin(&mut self, read: BoxFuture<'static, T>) {
        let requests = std::mem::take(&mut self.waiting);
        self.resume(requests, read);
    }

    /// Begins a read for `requests`, which an earlier read has left unanswered.
    pub(super) fn resume(&mut self, requests: Vec<R>, read: BoxFuture<'static, T>) {
        debug_assert!(self.inflight.is_none(), "one read at a time");
        self.inflight = Some((requests, read));
    }

    /// Waits for the read in flight, and returns its requests and its result; waits forever without
    /// one. Cancel-safe.
    pub(super) async fn finished(&mut self) -> (Vec<R>, T) {
        let Some((requests, read)) = &mut self.inflight else {
            return pending().await;
        };
        let result = read.await;
        let requests = std::mem::take(requests);
        self.inflight = None;
        (requests, result)
    }

    /// Drops the read in flight, and removes all requests, oldest first.
    pub(super) fn take_requests(&mut self) -> Vec<R> {
        let (mut requests, _) = self.inflight.take().unzip();
        let mut requests = requests.take().unwrap_or_default();
        requests.append(&mut self.waiting);
        requests
    }
}
