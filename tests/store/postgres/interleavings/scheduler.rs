//! Runs calls of the store on real sessions, in every order in which their statements can
//! interleave.
//!
//! Each statement commits by itself, and a call runs one or a few. Triggers divide a
//! statement into steps: it stops at a **gate** before it reads the rows of a table that it changes
//! (it has its snapshot, and no lock on them), and at a gate before its commit (it has all of its
//! locks). A gate is an advisory lock that the scheduler holds. One session runs at a time, until it
//! is at its next gate, waits for a row that another session has locked, or has ended. Orders are
//! tried depth first; each begins with rows of its own.
//!
//! Two kinds of orders are left out, because they equal others. A snapshot changes only with a
//! commit, so a call begins at the start or right after another has ended. A claim that found rows
//! locked changed nothing, so it goes on with its next attempt only after another session's step.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::{InstanceRecord, Leases};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};

use super::super::{connect, open, options};
use super::gates::{Gates, POLL_INTERVAL};
use crate::conformance::LONG_TTL;
use crate::database::PostgresDatabase;
use crate::history::instance;

/// How long a step may take, far beyond what it does take.
const STEP_MAX: Duration = Duration::from_secs(30);

/// A database with gates, a store for each session, and the orders that were tried.
pub struct Interleavings {
    /// A store that passes all gates, to prepare and to check each order.
    store: Arc<PostgresStore>,
    sessions: Vec<Arc<PostgresStore>>,
    gates: Gates,
    /// The decisions of the latest order.
    path: Vec<BranchPoint>,
    orders: u64,
    raids: u64,
    _database: PostgresDatabase,
}

/// The sessions that could go on at one point of an order, and the one of them that did.
struct BranchPoint {
    options: Vec<usize>,
    taken: usize,
}

/// One order of the calls.
pub struct OrderRun<'a> {
    all: &'a mut Interleavings,
    calls: Vec<StepwiseCall>,
    /// The session of each step so far.
    steps: Vec<usize>,
    /// Sessions that have ended, in the order of their ends.
    ended: Vec<usize>,
    /// Whether a call ended in the latest step.
    has_ended: bool,
}

struct StepwiseCall {
    name: &'static str,
    begin: Option<oneshot::Sender<()>>,
    task: AbortHandle,
    is_repeated: bool,
}

/// A call of one session.
pub struct SessionCall<T> {
    session: usize,
    task: JoinHandle<T>,
}

impl<T> SessionCall<T> {
    /// Returns what the call returned.
    pub async fn answer(self) -> T {
        self.task.await.expect("a call that does not panic")
    }
}

impl Interleavings {
    /// Prepares a database for calls of up to `sessions` sessions.
    pub async fn open(sessions: usize) -> Interleavings {
        let database = PostgresDatabase::create().await;
        let mut gates = Gates::new(connect(&database).await);
        let store = open(&database).await;
        let mut stores = Vec::new();
        for session in 0..sessions {
            let url = database.url();
            let separator = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{separator}options[gates.session]={session}");
            let options = PostgresOptions {
                url,
                ..options(&database)
            };
            let store = PostgresStore::connect(options).await.expect("connect");
            // The lease's session stays open.
            store.renew(&instance(), LONG_TTL).await.expect("renew");
            stores.push(Arc::new(store));
            gates.close_all(session).await;
        }
        store.renew(&instance(), LONG_TTL).await.expect("renew");
        gates.create().await;
        Interleavings {
            store,
            sessions: stores,
            gates,
            path: Vec::new(),
            orders: 0,
            raids: 0,
            _database: database,
        }
    }

    /// Returns the gates, to add some before the first order.
    pub fn gates(&mut self) -> &mut Gates {
        &mut self.gates
    }

    /// Begins the next order, on rows of its own; `None` once all were tried.
    pub async fn next_order(&mut self) -> Option<OrderRun<'_>> {
        if self.orders > 0 && !self.advance() {
            return None;
        }
        self.orders += 1;
        self.gates.execute("DELETE FROM instances").await;
        Some(OrderRun {
            all: self,
            calls: Vec::new(),
            steps: Vec::new(),
            ended: Vec::new(),
            has_ended: true,
        })
    }

    /// Takes the next option of the latest decision that has one left.
    fn advance(&mut self) -> bool {
        while let Some(last) = self.path.last_mut() {
            if last.taken + 1 < last.options.len() {
                last.taken += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl OrderRun<'_> {
    pub fn store(&self) -> &PostgresStore {
        &self.all.store
    }

    /// Returns the id of a raid that no order has used.
    pub fn next_raid(&mut self) -> u64 {
        self.all.raids += 1;
        self.all.raids
    }

    /// Registers an instance with a lease that outlives the test.
    pub async fn add_instance(&mut self) -> InstanceRecord {
        let instance = instance();
        let renewal = self.all.store.renew(&instance, LONG_TTL).await;
        renewal.expect("renew");
        instance
    }

    /// Changes when an instance's lease ends, to a time in SQL.
    pub async fn set_lease(&mut self, instance: &InstanceRecord, end: &str) {
        let id = instance.id.0;
        let set = format!("UPDATE instances SET lease_until = {end} WHERE id = '{id}'");
        self.all.gates.execute(&set).await;
    }

    /// Adds a call on the next session. It begins when [`Self::step_through`] lets it.
    pub fn call<T: Send + 'static, F: Future<Output = T> + Send>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(Arc<PostgresStore>) -> F + Send + 'static,
    ) -> SessionCall<T> {
        let session = self.calls.len();
        let store = Arc::clone(&self.all.sessions[session]);
        let (begin, begun) = oneshot::channel();
        let task = tokio::spawn(async move {
            begun.await.expect("the run outlives its calls");
            call(store).await
        });
        self.calls.push(StepwiseCall {
            name,
            begin: Some(begin),
            task: task.abort_handle(),
            is_repeated: false,
        });
        SessionCall { session, task }
    }

    /// Steps all calls to their ends, in this run's order.
    pub async fn step_through(&mut self) {
        let mut gates = vec![None; self.calls.len()];
        while self.ended.len() < self.calls.len() {
            let session = self.decide(self.options(&gates));
            self.steps.push(session);
            gates = timeout(STEP_MAX, self.step(session, gates[session]))
                .await
                .expect("a step that ends");
        }
    }

    /// Begins a call, or lets it pass its gate. Returns the gate of each session that is at one then.
    async fn step(&mut self, session: usize, gate: Option<i64>) -> Vec<Option<i64>> {
        let Some(gate) = gate else {
            let begin = self.calls[session].begin.take();
            let begin = begin.expect("a call that has not begun");
            begin.send(()).expect("a call that waits");
            return self.settle(session).await;
        };
        self.all.gates.pass(session, gate).await;
        let gates = self.settle(session).await;
        self.all.gates.close(session, 0).await;
        // Each attempt of a claim passes the first gate.
        self.calls[session].is_repeated = gates[session].is_some_and(|next| next <= gate);
        gates
    }

    /// Returns whether `first` ended before `second`.
    pub fn ended_before<A, B>(&self, first: &SessionCall<A>, second: &SessionCall<B>) -> bool {
        let end = |session| self.ended.iter().position(|ended| *ended == session);
        end(first.session) < end(second.session)
    }

    /// Returns the sessions that can make the next step.
    fn options(&self, gates: &[Option<i64>]) -> Vec<usize> {
        let last = self.steps.last().copied();
        let can_begin = |session: usize| {
            let follows = self
                .steps
                .iter()
                .filter(|step| Some(**step) == last)
                .count()
                == 1
                && last.is_some_and(|last| last < session);
            self.calls[session].begin.is_some() && (self.has_ended || follows)
        };
        let mut options: Vec<_> = (0..self.calls.len())
            .filter(|session| gates[*session].is_some() || can_begin(*session))
            .collect();
        if options.len() > 1 {
            options.retain(|session| Some(*session) != last || !self.calls[*session].is_repeated);
        }
        assert!(!options.is_empty(), "deadlock: each call waits for another");
        options
    }

    fn decide(&mut self, options: Vec<usize>) -> usize {
        let path = &mut self.all.path;
        if path.len() == self.steps.len() {
            path.push(BranchPoint { options, taken: 0 });
        } else {
            let before = &path[self.steps.len()].options;
            assert_eq!(*before, options, "the same steps led to another state");
        }
        let decision = &path[self.steps.len()];
        decision.options[decision.taken]
    }

    /// Waits until each call that has begun is at a gate, waits for another session or has ended.
    /// Returns the gate of each session that is at one.
    async fn settle(&mut self, stepped: usize) -> Vec<Option<i64>> {
        loop {
            let ended = |session: &usize| self.calls[*session].task.is_finished();
            let has_begun = |session: &usize| self.calls[*session].begin.is_none();
            let begun: Vec<_> = (0..self.calls.len()).filter(has_begun).collect();
            let running = begun.iter().filter(|session| !ended(session)).count();
            let waiting = self.all.gates.waiting_sessions().await;
            if waiting.len() == running {
                let mut new: Vec<_> = begun.into_iter().filter(ended).collect();
                new.retain(|session| !self.ended.contains(session));
                // The call that made the step ended before those that waited for it.
                new.sort_by_key(|session| *session != stepped);
                self.has_ended = !new.is_empty();
                self.ended.extend(new);
                let mut gates = vec![None; self.calls.len()];
                for (session, gate) in waiting.into_iter().flatten() {
                    gates[session] = Some(gate);
                }
                return gates;
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Names the order in which a check failed.
impl Drop for OrderRun<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut order = String::new();
            for session in &self.steps {
                let _ = write!(order, " {}", self.calls[*session].name);
            }
            eprintln!("order {}, by steps:{order}", self.all.orders);
        }
    }
}
