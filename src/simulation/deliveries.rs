//! How long events are under way from their commit to the clients that watch.

use std::collections::BTreeMap;
use std::time::Duration;

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{HealthyPeriod, Period};
use raidhall_protocol::{Seq, ServerMessage};

use super::plan::{Fault, Plan};

/// How long an event may be under way while nothing is wrong.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(2);

/// An event as one client received it while it watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    seq: Seq,
    committed: Moment,
    received: Moment,
}

impl Delivery {
    pub(super) fn millis(&self) -> u64 {
        self.received.since(self.committed) / 1_000
    }
}

/// Returns the events that a client received as they were committed. Those that were replayed after a
/// return are not late.
pub(super) fn find_deliveries(log: &ClientLog, committed: &BTreeMap<Seq, Moment>) -> Vec<Delivery> {
    let mut replayed = Seq::ZERO;
    let mut deliveries = Vec::new();
    for entry in log.entries() {
        let Observation::Received(message) = &entry.observation else {
            continue;
        };
        match &**message {
            ServerMessage::Watching { seq, .. } => replayed = *seq,
            ServerMessage::Event { event, .. } if event.seq > replayed => {
                let delivery = committed.get(&event.seq).map(|committed| Delivery {
                    seq: event.seq,
                    committed: *committed,
                    received: entry.at,
                });
                deliveries.extend(delivery);
            }
            _ => {}
        }
    }
    deliveries
}

/// Returns when nothing keeps events from a client: before the last fault, and after it if the client's
/// instance knows that it missed messages of the bus. Others do not know before they look.
pub(super) fn find_undisturbed(
    plan: &Plan,
    log: &ClientLog,
    healthy: &HealthyPeriod,
    last_fault_ended: Moment,
) -> Vec<Period> {
    if plan.has_floods || plan.has_hostile_members {
        return Vec::new();
    }
    let connected = log
        .entries()
        .iter()
        .rev()
        .find_map(|entry| match entry.observation {
            Observation::Connected { server, .. } => Some(server),
            _ => None,
        });
    let before = Period {
        from: healthy.from,
        to: healthy.to,
    };
    let after = Period {
        from: last_fault_ended,
        to: Moment::MAX,
    };
    match plan.last_fault {
        None => vec![before, after],
        Some(Fault::BusCut { instance }) if connected == Some(instance) => vec![before, after],
        Some(_) => vec![before],
    }
}

/// Returns a text for the first delivery that took too long within one of the periods, in which
/// nothing is wrong.
pub(super) fn find_late(
    log: &ClientLog,
    deliveries: &[Delivery],
    periods: &[Period],
) -> Option<String> {
    let is_late = |delivery: &&Delivery| {
        periods.iter().any(|period| {
            let began = delivery.committed.max(period.from);
            let latest = began.plus(DELIVERY_TIME_MAX);
            latest < period.to && latest < delivery.received
        })
    };
    let late = deliveries.iter().find(is_late)?;
    Some(format!(
        "raid {} client {}: event {} was under way for {} ms",
        log.raid,
        log.client,
        late.seq,
        late.millis()
    ))
}
