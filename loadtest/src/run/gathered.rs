//! All parties of a run together: signed in, connected, played, brought to rest.

use crate::client::Rest;
use crate::ledger::RunClock;
use crate::play::{Meter, Outcome, Party, Plan};
use crate::target::Target;
use futures_util::StreamExt;
use futures_util::stream;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Parties that sign in at the same time: enough to keep the server busy, too few to be a test of their own.
const GATHERING_AT_ONCE: usize = 8;
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// The parties of a run.
pub(super) struct Gathered {
    parties: Vec<Party>,
    rest: Rest,
    pub(super) meter: Arc<Meter>,
}

impl Gathered {
    /// Signs everybody in and makes the raids; nobody is connected yet.
    pub(super) async fn gather(target: &Target, plans: Vec<Plan>) -> anyhow::Result<Gathered> {
        let rest = Rest::new(target)?;
        let gathering = plans.into_iter().map(|plan| Party::gather(&rest, plan));
        let gathered: Vec<_> = stream::iter(gathering).buffer_unordered(GATHERING_AT_ONCE).collect().await;
        let parties = gathered.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(Gathered { parties, rest, meter: Arc::default() })
    }

    pub(super) fn connections(&self) -> usize {
        self.parties.iter().map(Party::players).sum()
    }

    pub(super) fn watching(&self) -> usize {
        self.parties.iter().map(Party::watching).sum()
    }

    /// Connects everybody and waits until all watch. A small pause between parties keeps the listen queue short.
    pub(super) async fn connect(&mut self, clock: RunClock) -> anyhow::Result<()> {
        for party in &mut self.parties {
            party.connect(&self.rest, clock, &self.meter);
            sleep(Duration::from_millis(party.players() as u64 / 2)).await;
        }
        let until = Instant::now() + CONNECT_PATIENCE;
        while self.watching() < self.connections() {
            let (watching, all) = (self.watching(), self.connections());
            anyhow::ensure!(Instant::now() < until, "only {watching} of {all} players watch after a minute");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
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
        let outcomes: Vec<_> = stream::iter(resting).buffer_unordered(usize::MAX).collect().await;
        outcomes.into_iter().collect()
    }
}
