//! All bot groups of a run together: created, connected, played, settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, sleep};

use crate::client::RestClient;
use crate::client_log::RunClock;
use crate::play::{BotGroup, GroupOutcome, GroupPlan, RaidSetup, TrafficCounters};
use crate::targets::Targets;

/// Groups that are created at the same time: enough to keep the server busy, too few to be a test
/// of their own.
const CONCURRENT_CREATIONS_MAX: usize = 8;
const CONCURRENT_CONNECTS_MAX: usize = 200;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// The bot groups of a run.
pub(super) struct BotGroups {
    groups: Vec<BotGroup>,
    rest: RestClient,
    pub(super) meter: Arc<TrafficCounters>,
}

impl BotGroups {
    /// Signs the players of all groups in and creates their raids. No client is connected yet.
    pub(super) async fn create(
        targets: Targets,
        plans: Vec<GroupPlan>,
    ) -> anyhow::Result<BotGroups> {
        let rest = RestClient::with_targets(targets)?;
        let creating = plans.into_iter().map(|plan| BotGroup::create(&rest, plan));
        let groups = create_all(creating).await?;
        Ok(Self::of(groups, rest))
    }

    /// Does the same as [`Self::create`] for players who have signed in already.
    pub(super) async fn create_for(
        targets: Targets,
        plans: Vec<(GroupPlan, RaidSetup)>,
    ) -> anyhow::Result<BotGroups> {
        let rest = RestClient::with_targets(targets)?;
        let creating = plans.into_iter();
        let creating = creating.map(|(plan, setup)| BotGroup::create_for(&rest, plan, setup));
        let groups = create_all(creating).await?;
        Ok(Self::of(groups, rest))
    }

    fn of(groups: Vec<BotGroup>, rest: RestClient) -> BotGroups {
        BotGroups {
            groups,
            rest,
            meter: Arc::default(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &BotGroup> {
        self.groups.iter()
    }

    pub(super) fn connections(&self) -> usize {
        self.groups.iter().map(BotGroup::player_count).sum()
    }

    pub(super) fn watching_count(&self) -> usize {
        self.groups.iter().map(BotGroup::watching_count).sum()
    }

    /// Connects all clients and waits until each watches its raid. Few connect at a time, because a
    /// server gives each only a few seconds to say hello, and the machine may be busy.
    pub(super) async fn connect(&mut self, clock: RunClock) -> anyhow::Result<()> {
        let mut connecting = 0;
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            group.connect(&self.rest, clock, &self.meter);
            connecting += group.player_count();
            self.wait_until_watching(connecting.saturating_sub(CONCURRENT_CONNECTS_MAX))
                .await?;
        }
        self.wait_until_watching(connecting).await
    }

    async fn wait_until_watching(&self, all: usize) -> anyhow::Result<()> {
        let until = Instant::now() + CONNECT_TIMEOUT;
        while self.watching_count() < all {
            let watching = self.watching_count();
            anyhow::ensure!(
                Instant::now() < until,
                "only {watching} of {all} players watch after a minute"
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until each client has seen all members of its raid online.
    pub(super) async fn wait_until_fully_online(&self) -> anyhow::Result<()> {
        let until = Instant::now() + CONNECT_TIMEOUT;
        let all = self.connections();
        loop {
            let complete: usize = self.groups.iter().map(BotGroup::fully_online_count).sum();
            if complete >= all {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < until,
                "only {complete} of {all} players were shown their whole group online after a minute"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn start_playing(&self) {
        for group in &self.groups {
            group.start_playing();
        }
    }

    pub(super) fn complete_final_task(&self) {
        for group in &self.groups {
            group.complete_final_task();
        }
    }

    /// Waits until all groups have settled, and disconnects their clients.
    pub(super) async fn settle(self) -> anyhow::Result<Vec<GroupOutcome>> {
        let settling = self.groups.into_iter().map(BotGroup::settle);
        let outcomes: Vec<_> = stream::iter(settling)
            .buffer_unordered(usize::MAX)
            .collect()
            .await;
        outcomes.into_iter().collect()
    }
}

async fn create_all(
    creating: impl Iterator<Item = impl Future<Output = anyhow::Result<BotGroup>>>,
) -> anyhow::Result<Vec<BotGroup>> {
    let created: Vec<_> = stream::iter(creating)
        .buffer_unordered(CONCURRENT_CREATIONS_MAX)
        .collect()
        .await;
    created.into_iter().collect()
}
