//! One run of a plan: groups of clients play while faults come and go.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::client_log::{Moment, RunClock};
use raidhall_loadtest::judge::{HealthyPeriod, StablePeriod};
use raidhall_loadtest::play::{
    BotGroup, BotHabits, BotPace, GroupOutcome, GroupPlan, OtherPlayers, TrafficCounters,
};
use raidhall_protocol::{Codec, PlayerId};
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{self, SimulatedCluster};
use super::devices::{DeviceLog, Devices};
use super::disturbances::{Disturbance, find_disturbances, find_outages};
use super::erasures::redact_outcome;
use super::plan::{Plan, PlanStep};

/// How long clients may take to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the cluster needs after the last fault until all is as before: until a jump of the
/// clock is accepted, and a player who was lost is shown offline.
pub(super) const RECOVERY_TIME: Duration = Duration::from_secs(30);
/// The shortest time limit that a raid can have.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long after the last fault clients may still wait for answers that it delays.
const DISTURBED_TIME: Duration = Duration::from_secs(10);
/// How long a command may take once the cluster has recovered, its repeats included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for completing the final tasks.
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// A plan that was played: the outcomes of its groups, and the periods that matter to the judge.
pub(super) struct Game {
    pub(super) clock: RunClock,
    pub(super) outcomes: Vec<GroupOutcome>,
    /// The period after all faults but the last, in which everything has to work.
    pub(super) healthy: HealthyPeriod,
    /// The period in which all players are there, if nothing goes wrong.
    pub(super) stable: StablePeriod,
    pub(super) disturbances: Vec<Disturbance>,
    pub(super) last_fault_ended: Moment,
    pub(super) devices: Vec<DeviceLog>,
}

impl Game {
    /// Plays the plan to its end.
    pub(super) async fn play(plan: &Plan, cluster: &mut SimulatedCluster) -> anyhow::Result<Game> {
        let clock = RunClock::start();
        let groups = connect_groups(plan, cluster, clock).await?;
        let all_online = clock.now();
        cluster.begin_random_failures();
        for group in &groups {
            group.start_playing();
        }
        let devices = Devices::start(plan, cluster);
        let outages = find_outages(plan, clock.now());
        let disturbances = find_disturbances(plan, clock.now());
        apply_faults(plan, cluster).await;
        let healthy = recover(plan, clock).await;
        if let Some(fault) = plan.last_fault {
            cluster.apply(PlanStep::Begin(fault)).await;
        }
        for group in &groups {
            group.complete_final_task();
        }
        sleep(FINAL_TASK_TIME).await;
        cluster.heal().await;
        let last_fault_ended = clock.now();
        if plan.last_fault.is_some() {
            sleep(RECOVERY_TIME).await;
        }
        let limits = cluster::config(plan).sessions;
        let stable = StablePeriod {
            from: all_online,
            to: healthy.to,
            presence_grace: limits.presence_grace,
            leader_grace: limits.leader_grace,
            outages,
        };
        Ok(Game {
            clock,
            outcomes: settle(groups).await?,
            healthy,
            stable,
            disturbances,
            last_fault_ended,
            devices: devices.stop().await,
        })
    }
}

/// Creates the groups, and waits until all their players are connected and see each other.
async fn connect_groups(
    plan: &Plan,
    cluster: &SimulatedCluster,
    clock: RunClock,
) -> anyhow::Result<Vec<BotGroup>> {
    let rest = RestClient::with_targets(cluster.targets())?;
    let traffic = Arc::<TrafficCounters>::default();
    let mut groups = Vec::new();
    for index in 0..plan.raids {
        let mut group = BotGroup::create(&rest, group_plan(plan, index)).await?;
        group.connect(&rest, clock, &traffic);
        groups.push(group);
    }
    let connecting = async {
        while groups
            .iter()
            .any(|it| it.fully_online_count() < it.player_count())
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(CONNECT_TIME_MAX, connecting)
        .await
        .context("not all clients could connect and see each other")?;
    Ok(groups)
}

/// Lets the faults begin and end as planned, and ends those that are left.
async fn apply_faults(plan: &Plan, cluster: &mut SimulatedCluster) {
    let began = Instant::now();
    for (at, step) in plan.steps() {
        cluster.run_until(began + at).await;
        cluster.apply(step).await;
    }
    cluster.run_until(began + plan.play_time()).await;
    cluster.heal().await;
}

/// Waits until the cluster has recovered. Returns the period in which commands have to work.
async fn recover(plan: &Plan, clock: RunClock) -> HealthyPeriod {
    sleep(DISTURBED_TIME).await;
    let from = clock.now();
    sleep(RECOVERY_TIME - DISTURBED_TIME).await;
    HealthyPeriod {
        from,
        to: clock.now(),
        // A command that is over the limit is repeated later and later.
        patience: if plan.has_floods {
            RECOVERY_TIME
        } else {
            PATIENCE
        },
    }
}

/// Ends the groups, and removes an erased player's texts from what the clients have received.
async fn settle(groups: Vec<BotGroup>) -> anyhow::Result<Vec<GroupOutcome>> {
    let mut outcomes = Vec::new();
    for group in groups {
        let mut outcome = group.settle().await?;
        if let Some(player) = erased_player(&outcome) {
            redact_outcome(&mut outcome, player);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Returns the player whose account was closed while the group played.
pub(super) fn erased_player(outcome: &GroupOutcome) -> Option<PlayerId> {
    let visitor = outcome.visitor.as_ref().filter(|it| it.is_erased)?;
    visitor.shut_out.map(|_| visitor.player)
}

fn group_plan(plan: &Plan, index: usize) -> GroupPlan {
    GroupPlan {
        index,
        players: plan.players,
        codecs: &[Codec::Json, Codec::MessagePack],
        seed: plan.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
        pace: BotPace {
            commands_per_second: if plan.has_floods { 40.0 } else { 2.0 },
            signals_per_second: 0.5,
            reads_per_second: 0.5,
            poll_interval: Duration::from_millis(200),
        },
        is_winnable: index.is_multiple_of(2),
        time_limit: plan.has_time_limit.then_some(TIME_LIMIT),
        habits: BotHabits {
            may_leave: true,
            may_moderate: true,
            sends_copies: true,
            // Floods get many watches refused, which ends the former ones.
            has_odd_watches: !plan.has_floods,
            may_go_away: plan.has_absences,
        },
        active_players: plan.players,
        others: OtherPlayers {
            has_outsider: true,
            operator_token: plan.has_visitors.then(cluster::operator_token),
            has_hostile_member: plan.has_hostile_members,
        },
    }
}
