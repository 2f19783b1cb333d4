//! How long effects take from the raid's event to the player's devices, by the clock of one process.

use std::collections::BTreeMap;
use std::time::Duration;

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, RaidId, Seq};

use super::causes::place_key;
use super::device::{DeviceSummary, stream_event};
use super::violation::{StreamViolation, StreamViolationKind};
use crate::client_log::{ClientLog, Moment, Observation};
use crate::judge::client::event_of;
use crate::latency::Latency;

/// When each event of the raids first arrived at a client.
#[derive(Debug, Default)]
pub struct RaidEventArrivals(BTreeMap<(RaidId, Seq), Moment>);

/// An effect's arrival at one device.
#[derive(Debug, Clone)]
struct EffectArrival {
    client: String,
    player: PlayerId,
    seq: Seq,
    cause: RaidPlace,
    at: Moment,
}

/// When effects arrived at devices.
#[derive(Debug, Default)]
pub struct EffectArrivals(Vec<EffectArrival>);

impl RaidEventArrivals {
    /// Adds the events that a client received.
    pub fn add(&mut self, log: &ClientLog) {
        for entry in log.entries() {
            let Observation::Received(message) = &entry.observation else {
                continue;
            };
            if let Some(event) = event_of(message) {
                let place = (log.raid, event.seq);
                let first = self.0.entry(place).or_insert(entry.at);
                *first = entry.at.min(*first);
            }
        }
    }
}

impl EffectArrivals {
    pub(super) fn add(&mut self, client: &str, player: PlayerId, device: &DeviceSummary) {
        for (seq, (at, message)) in &device.events {
            if let Some(cause) = stream_event(message).and_then(|event| event.cause) {
                self.0.push(EffectArrival {
                    client: client.to_owned(),
                    player,
                    seq: *seq,
                    cause,
                    at: *at,
                });
            }
        }
    }

    /// Measures the effects whose raid event first arrived in a period: from then until each device
    /// had the effect.
    pub fn measure(&self, raids: &RaidEventArrivals, period: (Moment, Moment)) -> Latency {
        let mut latency = Latency::default();
        for (_, micros) in self.lags(raids, period) {
            latency.add(micros);
        }
        latency
    }

    /// Reports each device to which effects of a period took longer than `lag_max`, with the longest.
    pub fn find_late(
        &self,
        raids: &RaidEventArrivals,
        period: (Moment, Moment),
        lag_max: Duration,
    ) -> Vec<StreamViolation> {
        let mut late: BTreeMap<(PlayerId, &str), Vec<(u64, Seq)>> = BTreeMap::new();
        for (arrival, micros) in self.lags(raids, period) {
            if Duration::from_micros(micros) > lag_max {
                let device = (arrival.player, arrival.client.as_str());
                let of_device = late.entry(device).or_default();
                of_device.push((micros, arrival.seq));
            }
        }
        let violation = |((player, client), late): ((PlayerId, &str), Vec<(u64, Seq)>)| {
            let (micros, seq) = late.iter().max().copied()?;
            Some(StreamViolation {
                player,
                client: client.to_owned(),
                kind: StreamViolationKind::EffectLate {
                    seq,
                    after_ms: micros / 1000,
                    count: late.len(),
                },
            })
        };
        late.into_iter().filter_map(violation).collect()
    }

    fn lags<'a>(
        &'a self,
        raids: &'a RaidEventArrivals,
        (from, to): (Moment, Moment),
    ) -> impl Iterator<Item = (&'a EffectArrival, u64)> {
        self.0.iter().filter_map(move |arrival| {
            let caused = *raids.0.get(&place_key(arrival.cause))?;
            (from <= caused && caused < to).then(|| (arrival, arrival.at.since(caused)))
        })
    }
}
