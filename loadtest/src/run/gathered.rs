//! All parties of a run together: signed in, connected, played, brought to rest.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, sleep};

use crate::client::Rest;
use crate::ledger::RunClock;
use crate::play::{Meter, Outcome, Party, Plan};
use crate::targets::Targets;

/// Parties that sign in at the same time: enough to keep the server busy, too few to be a test of their own.
const GATHERING_AT_ONCE: usize = 8;
const CONNECTING_AT_ONCE: usize = 200;
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// The parties of a run.
pub(super) struct Gathered {
    parties: Vec<Party>,
    rest: Rest,
    pub(super) meter: Arc<Meter>,
}

impl Gathered {
    /// Signs everybody in and makes the raids; nobody is connected yet.
    pub(super) async fn gather(targets: Targets, plans: Vec<Plan>) -> anyhow::Result<Gathered> {
        let rest = Rest::over(targets)?;
        let gathering = plans.into_iter().map(|plan| Party::gather(&rest, plan));
        let gathered: Vec<_> = stream::iter(gathering)
            .buffer_unordered(GATHERING_AT_ONCE)
            .collect()
            .await;
        let parties = gathered.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(Gathered {
            parties,
            rest,
            meter: Arc::default(),
        })
    }

    pub(super) fn connections(&self) -> usize {
        self.parties.iter().map(Party::players).sum()
    }

    pub(super) fn watching(&self) -> usize {
        self.parties.iter().map(Party::watching).sum()
    }

    /// Connects everybody and waits until all watch. Few are on their way at a time: a server gives each a few
    /// seconds to say hello, and the machine may be busy.
    pub(super) async fn connect(&mut self, clock: RunClock) -> anyhow::Result<()> {
        let mut asked = 0;
        for party in 0..self.parties.len() {
            self.parties[party].connect(&self.rest, clock, &self.meter);
            asked += self.parties[party].players();
            self.watched(asked.saturating_sub(CONNECTING_AT_ONCE))
                .await?;
        }
        self.watched(asked).await
    }

    async fn watched(&self, all: usize) -> anyhow::Result<()> {
        let until = Instant::now() + CONNECT_PATIENCE;
        while self.watching() < all {
            let watching = self.watching();
            anyhow::ensure!(
                Instant::now() < until,
                "only {watching} of {all} players watch after a minute"
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until everybody was shown everybody else of the party online.
    pub(super) async fn complete(&self) -> anyhow::Result<()> {
        let (until, all) = (Instant::now() + CONNECT_PATIENCE, self.connections());
        loop {
            let complete: usize = self.parties.iter().map(Party::complete).sum();
            if complete >= all {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < until,
                "only {complete} of {all} players were shown their whole party online after a minute"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn play(&self) {
        self.parties.iter().for_each(Party::play);
    }

    pub(super) fn finale(&self) {
        self.parties.iter().for_each(Party::finale);
    }

    /// Brings everybody to rest and sends them home.
    pub(super) async fn rest(self) -> anyhow::Result<Vec<Outcome>> {
        let resting = self.parties.into_iter().map(Party::rest);
        let outcomes: Vec<_> = stream::iter(resting)
            .buffer_unordered(usize::MAX)
            .collect()
            .await;
        outcomes.into_iter().collect()
    }
}
