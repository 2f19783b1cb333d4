//! Stale leases: those of dead instances that the database's clock does not end in time, because
//! they were written while it was ahead.
//!
//! A lease that is seen unchanged for as long as it lasts, by this machine's own clock, belongs to
//! an instance that has stopped renewing it and no longer acts under it.

use std::collections::HashMap;

use raidhall_protocol::UnixMillis;
use tokio::time::Instant;

use super::{InstanceId, PeerInstance};

/// Live leases of other instances, each with the moment at which it was first seen.
#[derive(Debug, Default)]
pub struct StaleLeases(HashMap<InstanceId, (UnixMillis, Instant)>);

impl StaleLeases {
    /// Takes note of the leases that the database holds to be valid. Returns those that are stale.
    pub fn observe(&mut self, valid: &[PeerInstance]) -> Vec<PeerInstance> {
        let now = Instant::now();
        self.0.retain(|id, (until, _)| {
            valid
                .iter()
                .any(|lease| lease.id == *id && lease.lease_until == *until)
        });
        let is_stale = |lease: &&PeerInstance| {
            let (_, since) = self.0.entry(lease.id).or_insert((lease.lease_until, now));
            now - *since > lease.ttl
        };
        valid.iter().filter(is_stale).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_stale_once_it_was_unchanged_for_as_long_as_it_lasts() {
        let lease = |lease_until| PeerInstance {
            id: InstanceId(Uuid::from_u128(1)),
            ws_url: String::new(),
            draining: false,
            ttl: Duration::from_secs(3),
            lease_until: UnixMillis(lease_until),
        };
        let mut leases = StaleLeases::default();
        for renewal in 0..5 {
            assert_eq!(leases.observe(&[lease(600_000 + renewal)]), []);
            advance(Duration::from_secs(3)).await;
        }
        assert_eq!(leases.observe(&[lease(600_004)]), []);
        advance(Duration::from_millis(1)).await;
        assert_eq!(leases.observe(&[lease(600_004)]), [lease(600_004)]);
        assert_eq!(leases.observe(&[]), []);
        assert_eq!(leases.observe(&[lease(600_004)]), [], "seen anew");
    }
}
