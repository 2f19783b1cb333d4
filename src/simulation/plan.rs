//! What happens in a run: data that can be drawn from a seed, saved, shrunk and replayed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::store::faulty::Call;

/// A run: who plays, for how long, and what goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The seed of everything random in the run.
    pub(super) seed: u64,
    pub(super) instances: usize,
    pub(super) raids: usize,
    /// Players in each raid.
    pub(super) players: usize,
    pub(super) play_ms: u64,
    /// Longest delay of a message between clients and instances.
    pub(super) network_delay_ms: u64,
    /// Longest delay of a message between instances.
    pub(super) bus_delay_ms: u64,
    /// Longest time before a call of the store takes effect, and again before its reply.
    pub(super) store_delay_ms: u64,
    /// Of 1,000 calls of the store: how many fail, and for how many only the reply is lost.
    pub(super) store_failures_permille: u32,
    /// Whether limits and intervals are so small that a short run meets them.
    #[serde(default)]
    pub(super) has_small_limits: bool,
    /// Whether players send more than the server admits.
    #[serde(default)]
    pub(super) has_floods: bool,
    /// Whether the raids end by their deadline, a minute after their start.
    #[serde(default)]
    pub(super) has_time_limit: bool,
    /// Whether players go away now and then, for a short time or a long one.
    #[serde(default)]
    pub(super) has_absences: bool,
    /// Whether a visitor joins each raid, who is then banned or erased.
    #[serde(default)]
    pub(super) has_visitors: bool,
    /// Whether each raid has one more member, who floods it and reads little.
    #[serde(default)]
    pub(super) has_hostile_members: bool,
    /// Whether a device of each player changes the player's settings now and then.
    #[serde(default)]
    pub(super) has_devices: bool,
    pub(super) faults: Vec<PlannedFault>,
    /// What goes wrong while the last commands take effect. It ends before clients wait for the last
    /// events, which no later event can repair.
    #[serde(default)]
    pub(super) last_fault: Option<Fault>,
}

/// A fault with its begin and its duration, in milliseconds of the time that is played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlannedFault {
    pub(super) at_ms: u64,
    pub(super) for_ms: u64,
    pub(super) fault: Fault,
}

/// What goes wrong. Instances are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// The instance's process dies; a new one starts at the end.
    Crash { instance: usize },
    /// The instance shuts down as for a deployment; a new one starts at the end.
    Drain { instance: usize },
    /// The instance's process stands still while time goes on, as in a debugger or while its virtual
    /// machine is paused.
    Pause { instance: usize },
    /// All machines but the database's are suspended for so long: their clocks stand still.
    Suspend { by_ms: u64 },
    /// The instance does not reach the store.
    StoreCut { instance: usize },
    /// Every call of the store takes this long for the instance before it takes effect, and again
    /// before its reply.
    StoreSlow { instance: usize, latency_ms: u64 },
    /// Some of the instance's calls of one kind hang: they take effect late, or not at all, whether
    /// or not the instance still waits for them.
    CallsStall {
        instance: usize,
        call: Call,
        count: u64,
    },
    /// Some of the instance's calls of one kind take effect, and their answers come late or not at
    /// all: what a read returns may be from an older moment.
    AnswersStall {
        instance: usize,
        call: Call,
        count: u64,
    },
    /// The store refuses some of the instance's commits.
    CommitsRefused { instance: usize },
    /// The instance does not reach the bus, and knows it.
    BusCut { instance: usize },
    /// What the instance publishes is lost, and it does not know.
    BusMute { instance: usize },
    /// What the instance should receive over the bus is lost, and it does not know.
    BusDeaf { instance: usize },
    /// Every n-th message of the bus is lost.
    BusLoss { every: u64 },
    /// Every message of the bus arrives twice.
    BusDuplicates,
    /// Messages of the bus change places.
    BusDisorder,
    /// The connections of the instance's clients break.
    ConnectionsBreak { instance: usize },
    /// Nothing passes over every n-th connection of the instance's clients.
    ConnectionsStall {
        instance: usize,
        #[serde(default = "one")]
        every: u64,
    },
    /// Little passes over every n-th connection of the instance's clients, as over a bad mobile
    /// network.
    ConnectionsSlow {
        instance: usize,
        #[serde(default = "one")]
        every: u64,
    },
    /// The instance cannot read raids, because a newer release has written events that it does not
    /// know. It is upgraded at the end.
    OldRelease { instance: usize },
    /// The database's clock jumps by so many milliseconds.
    ClockJump { by_ms: i64 },
}

const fn one() -> u64 {
    1
}

/// One step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlanStep {
    Begin(Fault),
    End(Fault),
}

impl Plan {
    /// Draws a plan from a seed.
    pub(super) fn random(seed: u64) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed);
        let instances = rng.random_range(1..=4);
        let play_ms = rng.random_range(5_000..40_000);
        let mut plan = Plan {
            seed,
            instances,
            raids: rng.random_range(1..=3),
            players: rng.random_range(2..=4),
            play_ms,
            network_delay_ms: rng.random_range(1..80),
            bus_delay_ms: rng.random_range(1..120),
            store_delay_ms: rng.random_range(1..60),
            store_failures_permille: *pick(&mut rng, &[0, 0, 0, 2, 20]),
            has_small_limits: rng.random(),
            has_floods: rng.random_ratio(1, 6),
            has_time_limit: rng.random_ratio(1, 3),
            has_absences: false,
            has_visitors: false,
            has_hostile_members: false,
            has_devices: false,
            faults: Vec::new(),
            last_fault: None,
        };
        // Few kinds of faults at a time: what one kind brings about, others hide.
        let kinds: Vec<u32> = match rng.random_range(0..3) {
            0 => (0..FAULT_KINDS).collect(),
            _ => (0..rng.random_range(1..=3))
                .map(|_| rng.random_range(0..FAULT_KINDS))
                .collect(),
        };
        let is_calm = rng.random_ratio(1, 4);
        let count = if is_calm { 0 } else { rng.random_range(1..=8) };
        for _ in 0..count {
            let kind = *pick(&mut rng, &kinds);
            let fault = random_fault(&mut rng, kind, instances);
            plan.faults.push(PlannedFault {
                at_ms: rng.random_range(0..play_ms),
                for_ms: rng.random_range(50..12_000),
                fault,
            });
        }
        plan.faults.sort_by_key(|planned| planned.at_ms);
        let instance = rng.random_range(0..instances);
        plan.last_fault = *pick(
            &mut rng,
            &[
                None,
                Some(Fault::BusDeaf { instance }),
                Some(Fault::BusMute { instance }),
                Some(Fault::BusLoss { every: 2 }),
                Some(Fault::BusCut { instance }),
            ],
        );
        plan.has_absences = rng.random();
        plan.has_visitors = rng.random();
        plan.has_hostile_members = rng.random_ratio(1, 5);
        plan.has_devices = rng.random();
        plan
    }

    pub(super) fn play_time(&self) -> Duration {
        Duration::from_millis(self.play_ms)
    }

    /// Returns for how long instances are paused, all pauses together.
    pub(super) fn total_pause_time(&self) -> Duration {
        let pauses = self
            .faults
            .iter()
            .filter(|planned| matches!(planned.fault, Fault::Pause { .. }));
        Duration::from_millis(pauses.map(|planned| planned.for_ms).sum())
    }

    /// Returns by how much the database's clock jumps forward, all jumps together.
    pub(super) fn total_clock_jump(&self) -> Duration {
        let jumps = self.faults.iter().map(|planned| match planned.fault {
            Fault::ClockJump { by_ms } => u64::try_from(by_ms).unwrap_or(0),
            _ => 0,
        });
        Duration::from_millis(jumps.sum())
    }

    /// Returns when each fault begins and ends, in order. Those that outlast the time that is played
    /// have no end here: everything is healed then.
    pub(super) fn steps(&self) -> Vec<(Duration, PlanStep)> {
        let mut steps = Vec::new();
        for planned in &self.faults {
            let end = planned.at_ms + planned.for_ms;
            steps.push((planned.at_ms, PlanStep::Begin(planned.fault)));
            steps.push((end, PlanStep::End(planned.fault)));
        }
        steps.sort_by_key(|(at, _)| *at);
        let in_time = |(at, step)| (Duration::from_millis(at), step);
        let steps = steps.into_iter().filter(|(at, _)| *at < self.play_ms);
        steps.map(in_time).collect()
    }
}

/// The calls of the store that hang in random plans, commits most often.
const STALLING_CALLS: [Call; 14] = [
    Call::Commit,
    Call::Commit,
    Call::Commit,
    Call::Commit,
    Call::Claim,
    Call::Release,
    Call::Renew,
    Call::Deregister,
    Call::EndStaleLease,
    Call::SaveSnapshot,
    Call::Load,
    Call::Heads,
    Call::AppendToStream,
    Call::CommitProjection,
];

/// The calls of the store whose answers hang in random plans.
const STALLING_ANSWERS: [Call; 9] = [
    Call::Load,
    Call::Events,
    Call::Heads,
    Call::FindOps,
    Call::FilterEverJoined,
    Call::Claim,
    Call::Commit,
    Call::Renew,
    Call::CommitProjection,
];

/// How many kinds [`random_fault`] knows. The more likely ones have several numbers.
const FAULT_KINDS: u32 = 18;

fn random_fault(rng: &mut StdRng, kind: u32, instances: usize) -> Fault {
    let instance = rng.random_range(0..instances);
    match kind {
        0 | 1 => Fault::Crash { instance },
        2 => Fault::Drain { instance },
        3 => Fault::StoreCut { instance },
        4 => Fault::StoreSlow {
            instance,
            latency_ms: rng.random_range(100..3_000),
        },
        5 => Fault::CallsStall {
            instance,
            call: *pick(rng, &STALLING_CALLS),
            count: rng.random_range(1..=3),
        },
        15 => Fault::AnswersStall {
            instance,
            call: *pick(rng, &STALLING_ANSWERS),
            count: rng.random_range(1..=3),
        },
        6 => *pick(
            rng,
            &[
                Fault::BusCut { instance },
                Fault::BusMute { instance },
                Fault::BusDeaf { instance },
            ],
        ),
        7 => *pick(
            rng,
            &[
                Fault::BusLoss { every: 3 },
                Fault::BusDuplicates,
                Fault::BusDisorder,
            ],
        ),
        8 | 9 => Fault::ConnectionsBreak { instance },
        10 | 17 => {
            let every = rng.random_range(1..=4);
            *pick(
                rng,
                &[
                    Fault::ConnectionsStall { instance, every },
                    Fault::ConnectionsSlow { instance, every },
                    Fault::OldRelease { instance },
                ],
            )
        }
        11 | 12 => Fault::Pause { instance },
        13 => Fault::Suspend {
            by_ms: rng.random_range(1_000..60_000),
        },
        14 => Fault::CommitsRefused { instance },
        _ => Fault::ClockJump {
            by_ms: rng.random_range(-60_000..600_000),
        },
    }
}

fn pick<'a, T>(rng: &mut StdRng, values: &'a [T]) -> &'a T {
    &values[rng.random_range(0..values.len())]
}

/// Removes what a plan does not need to fail, as long as `fails` says that it does.
pub(super) fn shrink(plan: Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut smallest = plan;
    loop {
        let Some(smaller) = simpler_plans(&smallest).into_iter().find(&mut fails) else {
            return smallest;
        };
        smallest = smaller;
    }
}

/// Returns plans that each lack one thing, those with the most effect first.
fn simpler_plans(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut simpler = plan.clone();
        change(&mut simpler);
        if simpler != *plan {
            plans.push(simpler);
        }
    };
    for index in 0..plan.faults.len() {
        add(&|plan| {
            plan.faults.remove(index);
        });
    }
    add(&|plan| plan.last_fault = None);
    add(&|plan| plan.raids = 1);
    add(&|plan| plan.players = plan.players.min(2));
    add(&|plan| plan.store_failures_permille = 0);
    add(&|plan| plan.has_small_limits = false);
    add(&|plan| plan.has_time_limit = false);
    add(&|plan| plan.has_floods = false);
    add(&|plan| plan.has_absences = false);
    add(&|plan| plan.has_visitors = false);
    add(&|plan| plan.has_hostile_members = false);
    add(&|plan| plan.has_devices = false);
    add(&|plan| plan.play_ms /= 2);
    for index in 0..plan.faults.len() {
        add(&|plan| plan.faults[index].for_ms /= 2);
    }
    plans
}
