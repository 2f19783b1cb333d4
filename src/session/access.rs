//! Access checks: whether a player is or was a member of a raid.
//!
//! Players who are not known to the raid's session here are looked up in the store before any session
//! sees their request. All who wait share one statement, whether or not the raid exists, so that
//! strangers neither hold up a raid nor learn which raids there are.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use raidhall_protocol::{PlayerId, RaidId};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, error, info_span, warn};

use super::Registry;
use crate::error::Error;
use crate::raid::Refusal;

/// Checks in one statement.
const BATCH_CHECKS_MAX: usize = 256;
/// Waiting checks; another one is refused as `overloaded`.
const WAITING_CHECKS_MAX: usize = 8_192;
/// How long the store may take to answer a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a check may wait for its statement to begin.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The queue of access checks. A task works through it while there are any.
#[derive(Default)]
pub(super) struct AccessQueue {
    checks: Mutex<Checks>,
    /// Number of unanswered checks of each player and raid.
    unanswered: DashMap<(RaidId, PlayerId), usize>,
}

#[derive(Default)]
struct Checks {
    waiting: VecDeque<AccessCheck>,
    has_task: bool,
}

struct AccessCheck {
    subject: (RaidId, PlayerId),
    deadline: Instant,
    answer: AnswerFn,
}

type AnswerFn = Box<dyn FnOnce(Result<(), Error>) + Send>;

impl Registry {
    /// Calls `answer` once the player's access is known: `NotFound` if the player never was a member.
    /// Checks of one player and raid are answered in their order.
    pub(super) fn check_access(
        &self,
        raid: RaidId,
        player: PlayerId,
        answer: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let subject = (raid, player);
        if !self.access.unanswered.contains_key(&subject) && self.knows_player(raid, player) {
            return answer(Ok(()));
        }
        let mut checks = self.access.checks.lock();
        if checks.waiting.len() >= WAITING_CHECKS_MAX {
            drop(checks);
            return answer(Err(Error::Overloaded));
        }
        *self.access.unanswered.entry(subject).or_default() += 1;
        checks.waiting.push_back(AccessCheck {
            subject,
            deadline: Instant::now() + CHECK_TIMEOUT,
            answer: Box::new(answer),
        });
        if !std::mem::replace(&mut checks.has_task, true) {
            let work = work_through_checks(self.clone());
            self.tasks
                .spawn(work.instrument(info_span!("access checks")));
        }
    }

    /// Answers a check. A panic is only logged: the other checks go on.
    fn answer_check(&self, check: AccessCheck, access: Result<(), Error>) {
        if catch_unwind(AssertUnwindSafe(|| (check.answer)(access))).is_err() {
            error!("the answer to an access check panicked");
        }
        // Only now may the player's next request go straight to the session.
        self.access.remove_unanswered(check.subject);
    }
}

async fn work_through_checks(registry: Registry) {
    loop {
        let batch: Vec<_> = {
            let mut checks = registry.access.checks.lock();
            let count = checks.waiting.len().min(BATCH_CHECKS_MAX);
            checks.has_task = count > 0;
            checks.waiting.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        let (batch, expired): (Vec<_>, Vec<_>) =
            (batch.into_iter()).partition(|check| check.deadline > Instant::now());
        for check in expired {
            registry.answer_check(check, Err(Error::Unavailable));
        }
        let subjects: BTreeSet<_> = batch.iter().map(|check| check.subject).collect();
        let subjects: Vec<_> = subjects.into_iter().collect();
        let reading = timeout(
            STATEMENT_TIMEOUT,
            registry.store.filter_ever_joined(&subjects),
        );
        let joined: Result<BTreeSet<_>, _> = match reading.await {
            Ok(Ok(joined)) => Ok(joined.into_iter().collect()),
            failure => {
                warn!(
                    checks = batch.len(),
                    ?failure,
                    "checking the access of players failed"
                );
                Err(Error::Unavailable)
            }
        };
        for check in batch {
            let access = match &joined {
                Ok(joined) if joined.contains(&check.subject) => Ok(()),
                Ok(_) => Err(Refusal::NotFound.into()),
                Err(error) => Err(error.clone()),
            };
            registry.answer_check(check, access);
        }
    }
}

impl AccessQueue {
    fn remove_unanswered(&self, subject: (RaidId, PlayerId)) {
        if let Entry::Occupied(mut count) = self.unanswered.entry(subject) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
