//! An owner's reads of the store, for requests that its memory cannot answer. They run beside the
//! loop, and each serves all requests that wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::Seq;
use tokio::time::timeout;
use tracing::warn;

use super::super::actor::CarriedState;
use super::super::message::{ExecuteRequest, SessionMessage};
use super::super::pending_replies::PendingReply;
use super::Owner;
use crate::error::Error;
use crate::store::OpHash;
use crate::telemetry::ReloadCause;

/// The ops that the ledger holds, of those it was searched for, each with its event's seq.
pub(super) type OpsFound = Result<BTreeMap<OpHash, Seq>, Error>;

/// How long the store may take for a read that requests wait for.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

impl Owner {
    /// Returns whether a command must wait until the ledger has been searched: for its own op, or
    /// because an earlier command of its sender waits.
    pub(super) fn must_search_ledger(&self, request: &ExecuteRequest) -> bool {
        let sender = request.command.sender();
        self.is_unknown(request)
            || (self.op_searches.requests()).any(|earlier| earlier.command.sender() == sender)
    }

    fn is_unknown(&self, request: &ExecuteRequest) -> bool {
        self.ops.is_partial() && request.op.is_some_and(|op| self.ops.get(op).is_none())
    }

    /// Returns the number of requests that wait for the store.
    pub(super) fn waiting_requests(&self) -> usize {
        self.op_searches.requests().count() + self.head_checks.requests().count()
    }

    /// Begins the reads that requests wait for.
    pub(super) fn begin_reads(&mut self) {
        let raid = self.audience.raid();
        if self.op_searches.is_due() {
            // Those in the cache may be evicted from it before their commands are executed.
            let mut known = BTreeMap::new();
            let mut unknown = Vec::new();
            for op in (self.op_searches.requests()).filter_map(|request| request.op) {
                match self.ops.get(op) {
                    Some(seq) => drop(known.insert(op, seq)),
                    None => unknown.push(op),
                }
            }
            let store = self.sessions.store.clone();
            let search = async move { store.find_ops(raid, &unknown).await };
            self.op_searches.begin(
                timeout(READ_TIMEOUT, search)
                    .map(|found| match found {
                        Ok(Ok(found)) => Ok(found.into_iter().chain(known).collect()),
                        failure => {
                            warn!(?failure, "searching the ledger for ops failed");
                            Err(Error::Unavailable)
                        }
                    })
                    .boxed(),
            );
        }
        if self.head_checks.is_due() {
            let epoch = self.epoch;
            let store = self.sessions.store.clone();
            let head = async move { store.head(raid).await };
            self.head_checks.begin(
                timeout(READ_TIMEOUT, head)
                    .map(move |head| match head {
                        Ok(Ok(head)) => Ok(head.is_some_and(|head| head.epoch != epoch)),
                        failure => {
                            warn!(?failure, "asking the store for the raid's owner failed");
                            Err(Error::Unavailable)
                        }
                    })
                    .boxed(),
            );
        }
    }

    /// Removes all requests that wait for the store.
    pub(super) fn take_waiting(&mut self) -> Vec<SessionMessage> {
        let commands = self.op_searches.take_requests().into_iter();
        let commands = commands.map(SessionMessage::Execute);
        commands.chain(self.head_checks.take_requests()).collect()
    }

    /// Executes the commands that waited for a search of the ledger, in their order. If the lease
    /// must be confirmed first, or the raid must be reloaded, the rest goes back into the mailbox.
    pub(super) fn finish_op_search(
        &mut self,
        commands: Vec<ExecuteRequest>,
        found: OpsFound,
        carried: &mut CarriedState,
    ) -> Result<(), ReloadCause> {
        let mut commands = commands.into_iter();
        let mut result = Ok(());
        while result.is_ok()
            && self.sessions.lease.is_valid_in_term(self.lease_term)
            && let Some(request) = commands.next()
        {
            match &found {
                Ok(found) => {
                    self.advance(carried);
                    let known = request.op.and_then(|op| found.get(&op).copied());
                    result = self.execute(request, known, &carried.presence);
                }
                Err(error) => self.pending_replies.push(
                    self.state.seq(),
                    PendingReply::Ack(request.reply, Err(error.clone())),
                ),
            }
        }
        if commands.len() > 0 {
            let rest = commands.chain(self.op_searches.take_requests());
            let rest: Vec<_> = rest.map(SessionMessage::Execute).collect();
            carried.mailbox.put_back(rest.into_iter());
        }
        self.release_replies(&mut carried.presence);
        result
    }

    /// Answers the requests that waited for the raid's head; fails if the store has a later owner.
    pub(super) fn finish_head_check(
        &mut self,
        requests: Vec<SessionMessage>,
        superseded: Result<bool, Error>,
        carried: &mut CarriedState,
    ) -> Result<(), ReloadCause> {
        if superseded == Ok(true) {
            carried.mailbox.put_back(requests.into_iter());
            return Err(ReloadCause::Superseded);
        }
        for request in requests {
            match (request, &superseded) {
                (request, Err(error)) => request.fail(error.clone()),
                (SessionMessage::Watch(watch), Ok(_)) => self.start_watch(watch, true),
                (SessionMessage::Resync(watch), Ok(_)) => self.start_watch(watch, false),
                (_, Ok(_)) => {}
            }
        }
        self.release_replies(&mut carried.presence);
        Ok(())
    }
}
