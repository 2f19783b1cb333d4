//! The part of a report that is about players' own streams.

use std::fmt;

use serde::Serialize;

use crate::latency::Percentiles;

/// The figures of the players' own streams in a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PlayerFigures {
    pub players: usize,
    /// Devices of each player.
    pub devices: usize,
    /// Events in the players' streams.
    pub events: u64,
    /// Those of them that events of raids caused.
    pub effects: u64,
    /// Events that devices received, all together.
    pub received: u64,
    /// Acknowledged commands of devices.
    pub acks: u64,
    /// Acknowledged grants of the host app's backend.
    pub grants: u64,
    /// Watches of streams with `since`.
    pub resumes: u64,
    /// Commands per second of the host app's backend that were acknowledged.
    pub backend_acks_per_second: f64,
    /// Effects per second that arrived at a player's devices while the bots played.
    pub effects_per_second: f64,
    /// From the arrival of a raid's event to that of its effect, at each device.
    pub effect_lag: Percentiles,
    /// Hashes over the final states of all players, one of each set of devices. They are equal if all
    /// devices hold the same.
    pub state_hashes: Vec<String>,
}

impl fmt::Display for PlayerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            players,
            devices,
            events,
            effects,
            received,
            acks,
            grants,
            resumes,
            ..
        } = self;
        writeln!(
            f,
            "  players     {players} with {devices} devices: {events} events ({received} received), {effects} effects, {acks} acks, {grants} grants, {resumes} resumes"
        )?;
        writeln!(
            f,
            "  effects     {:.1}/s ({:.1} acks/s of the backend); after their raid's event {}",
            self.effects_per_second, self.backend_acks_per_second, self.effect_lag
        )?;
        let mut hashes: Vec<_> = self.state_hashes.iter().map(String::as_str).collect();
        hashes.sort_unstable();
        hashes.dedup();
        match &hashes[..] {
            [hash] => writeln!(f, "  state hash  {hash}, the same on all devices"),
            several => writeln!(f, "  state hash  DIFFERENT: {}", several.join(", ")),
        }
    }
}
