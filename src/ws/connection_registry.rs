//! The open connections of an instance, and the permits that limit them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use raidhall_protocol::{CloseCode, PlayerId};
use tokio::time::{Instant, sleep};

use super::Options;
use crate::auth::{Identity, RevokedSessions};
use crate::fanout::outbox::{ConnectionId, Outbox};
use crate::limits::keyed_limit::{KeyedLimit, Permit};

/// How long a connection has to answer a ping before it may have to make room for another one.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The refusal of a connection whose player has as many as may be.
pub(super) struct TooManyOfPlayer;

/// An open connection and the identity of its client.
struct ConnectionEntry {
    outbox: Arc<Outbox>,
    identity: Identity,
}

/// The permits of one connection; dropping it gives them back.
pub(super) struct Admission {
    unauthenticated: Option<(Permit<()>, Permit<IpAddr>)>,
    _total: Permit<()>,
    _per_address: Permit<IpAddr>,
}

impl Admission {
    /// Gives back the permits of an unauthenticated connection.
    pub(super) fn mark_authenticated(&mut self) {
        self.unauthenticated = None;
    }
}

pub(super) struct ConnectionRegistry {
    next_id: AtomicU64,
    entries: DashMap<ConnectionId, ConnectionEntry>,
    total: Arc<KeyedLimit<()>>,
    per_address: Arc<KeyedLimit<IpAddr>>,
    unauthenticated: Arc<KeyedLimit<()>>,
    unauthenticated_per_address: Arc<KeyedLimit<IpAddr>>,
    per_player: Arc<KeyedLimit<PlayerId>>,
    is_draining: AtomicBool,
}

impl ConnectionRegistry {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            next_id: AtomicU64::new(1),
            entries: DashMap::new(),
            total: Arc::new(KeyedLimit::new(options.connections_max)),
            per_address: Arc::new(KeyedLimit::new(options.connections_per_address_max)),
            unauthenticated: Arc::new(KeyedLimit::new(options.unauthenticated_max)),
            unauthenticated_per_address: Arc::new(KeyedLimit::new(
                options.unauthenticated_per_address_max,
            )),
            per_player: Arc::new(KeyedLimit::new(options.connections_per_player_max)),
            is_draining: AtomicBool::new(false),
        }
    }

    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Acquires the permits for a connection from an address, or returns `None` if one is missing.
    /// A client that is not known yet also takes one of the fewer permits for unauthenticated
    /// connections.
    pub(super) fn admit(&self, address: IpAddr, known: bool) -> Option<Admission> {
        let total = KeyedLimit::try_acquire(&self.total, ())?;
        let per_address = KeyedLimit::try_acquire(&self.per_address, address)?;
        let unauthenticated = if known {
            None
        } else {
            Some((
                KeyedLimit::try_acquire(&self.unauthenticated, ())?,
                KeyedLimit::try_acquire(&self.unauthenticated_per_address, address)?,
            ))
        };
        Some(Admission {
            unauthenticated,
            _total: total,
            _per_address: per_address,
        })
    }

    /// Acquires the permit for another connection of a player; an identity without a player needs
    /// none. If the player has no free one, every WebSocket of the same sign-in is sent a ping, and
    /// the longest silent one of those that do not answer makes room: a client whose network changes
    /// leaves dead connections behind.
    ///
    /// # Errors
    ///
    /// [`TooManyOfPlayer`] if all of them answer.
    pub(super) async fn acquire_player_permit(
        &self,
        identity: &Identity,
    ) -> Result<Option<Permit<PlayerId>>, TooManyOfPlayer> {
        let Some(player) = identity.player.as_ref().map(|player| player.id) else {
            return Ok(None);
        };
        let permit = match KeyedLimit::try_acquire(&self.per_player, player) {
            Some(permit) => permit,
            // Boxed, so that it does not enlarge the task of every connection.
            None => Box::pin(self.await_player_permit(player, identity)).await?,
        };
        Ok(Some(permit))
    }

    async fn await_player_permit(
        &self,
        player: PlayerId,
        identity: &Identity,
    ) -> Result<Permit<PlayerId>, TooManyOfPlayer> {
        let mut silent = self.sockets_of_sign_in(identity);
        let probed_at = Instant::now();
        for socket in &silent {
            socket.request_probe();
        }
        let mut give_up_at = probed_at + PROBE_TIMEOUT;
        loop {
            sleep(PROBE_CHECK_INTERVAL).await;
            if let Some(permit) = KeyedLimit::try_acquire(&self.per_player, player) {
                return Ok(permit);
            }
            silent.retain(|socket| socket.last_heard() <= Some(probed_at));
            if silent.is_empty() {
                return Err(TooManyOfPlayer);
            }
            if give_up_at <= Instant::now() {
                // One that could not be sent the ping yet is busy taking something else.
                silent.sort_by_key(|socket| (socket.is_probe_requested(), socket.last_heard()));
                silent.remove(0).request_close(CloseCode::HeartbeatTimeout);
                // Its task gives the permit back; a new connection may be faster to take it.
                give_up_at = Instant::now() + PROBE_TIMEOUT;
            }
        }
    }

    /// Returns the outboxes of the open WebSockets that belong to the same sign-in, or to the same
    /// player if it is not known.
    fn sockets_of_sign_in(&self, identity: &Identity) -> Vec<Arc<Outbox>> {
        let is_same = |open: &ConnectionEntry| {
            open.identity.subject == identity.subject
                && open.identity.family == identity.family
                && open.outbox.last_heard().is_some()
        };
        let entries = self.entries.iter();
        entries
            .filter(|open| is_same(open))
            .map(|open| Arc::clone(&open.outbox))
            .collect()
    }

    /// Adds a connection, or replaces the identity of one that is there.
    pub(super) fn upsert(&self, outbox: &Arc<Outbox>, identity: &Identity) {
        self.entries.insert(
            outbox.id,
            ConnectionEntry {
                outbox: Arc::clone(outbox),
                identity: identity.clone(),
            },
        );
    }

    /// Requests the close of every connection whose identity was revoked.
    pub(super) fn close_revoked(&self, revoked: &RevokedSessions) {
        for open in &self.entries {
            if let Some(code) = revoked.close_code_for(&open.identity) {
                open.outbox.request_close(code);
            }
        }
    }

    pub(super) fn remove(&self, outbox: &Outbox) {
        self.entries.remove(&outbox.id);
    }

    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        for open in &self.entries {
            open.outbox.wake();
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn unauthenticated_connections_are_bounded_separately() {
        let registry = ConnectionRegistry::new(&Options {
            connections_max: 5,
            connections_per_address_max: 4,
            connections_per_player_max: 1,
            unauthenticated_max: 3,
            unauthenticated_per_address_max: 2,
            ..Config::default().sockets
        });
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
        let mut first = registry.admit(here, false).expect("a permit");
        let _second = registry.admit(here, false).expect("a permit");
        assert!(
            registry.admit(here, false).is_none(),
            "two unauthenticated of one address"
        );
        let _third = registry.admit(there, false).expect("a permit");
        assert!(
            registry.admit(there, false).is_none(),
            "three unauthenticated in all"
        );
        let _known = registry
            .admit(here, true)
            .expect("authenticated connections are not counted there");
        first.mark_authenticated();
        let last = registry
            .admit(here, false)
            .expect("one unauthenticated connection less");
        assert!(registry.admit(here, true).is_none(), "four of one address");
        assert!(registry.admit(there, true).is_none(), "five in all");
        drop(last);
        assert!(
            registry.admit(there, true).is_some(),
            "a refusal keeps no permit"
        );
    }
}
