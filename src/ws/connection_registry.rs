//! Which connections there are, and how many of whom.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use raidhall_protocol::PlayerId;

use crate::auth::{Identity, RevokedSessions};
use crate::fanout::outbox::{ConnectionId, Outbox};
use crate::limits::keyed_limit::{Counts, Place};

/// A connection, and who it is.
struct Open {
    outbox: Arc<Outbox>,
    identity: Identity,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// In all.
    pub connections: usize,
    /// From one address.
    pub per_address: usize,
    /// Of one player.
    pub per_player: usize,
    /// That have not said who they are.
    pub unauthenticated: usize,
    /// Of those, from one address.
    pub unauthenticated_per_address: usize,
}

/// A connection's places, given back when dropped.
pub(super) struct Admission {
    stranger: Option<(Place<()>, Place<IpAddr>)>,
    _everybody: Place<()>,
    _of_address: Place<IpAddr>,
}

impl Admission {
    /// It is known now who is there.
    pub(super) fn introduced(&mut self) {
        self.stranger = None;
    }
}

pub(super) struct Registry {
    next: AtomicU64,
    open: DashMap<ConnectionId, Open>,
    everybody: Arc<Counts<()>>,
    addresses: Arc<Counts<IpAddr>>,
    strangers: Arc<Counts<()>>,
    strangers_of: Arc<Counts<IpAddr>>,
    players: Arc<Counts<PlayerId>>,
    draining: AtomicBool,
}

impl Registry {
    pub(super) fn new(places: Places) -> Self {
        Self {
            next: AtomicU64::new(1),
            open: DashMap::new(),
            everybody: Arc::new(Counts::new(places.connections)),
            addresses: Arc::new(Counts::new(places.per_address)),
            strangers: Arc::new(Counts::new(places.unauthenticated)),
            strangers_of: Arc::new(Counts::new(places.unauthenticated_per_address)),
            players: Arc::new(Counts::new(places.per_player)),
            draining: AtomicBool::new(false),
        }
    }

    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a place for a connection from an address, or none where there are as many as there may be. Until it is
    /// known who is there, it takes one of the fewer places for strangers too.
    pub(super) fn admit(&self, address: IpAddr, known: bool) -> Option<Admission> {
        let everybody = Counts::take(&self.everybody, ())?;
        let of_address = Counts::take(&self.addresses, address)?;
        let stranger = if known {
            None
        } else {
            Some((
                Counts::take(&self.strangers, ())?,
                Counts::take(&self.strangers_of, address)?,
            ))
        };
        Some(Admission {
            stranger,
            _everybody: everybody,
            _of_address: of_address,
        })
    }

    /// Takes a place for a player, or none if it has as many as it may.
    pub(super) fn place_for_player(&self, player: PlayerId) -> Option<Place<PlayerId>> {
        Counts::take(&self.players, player)
    }

    /// Adds a connection, or notes who it is now.
    pub(super) fn add(&self, outbox: &Arc<Outbox>, identity: &Identity) {
        self.open.insert(
            outbox.id,
            Open {
                outbox: Arc::clone(outbox),
                identity: identity.clone(),
            },
        );
    }

    /// Ends the connections of whoever may not be here any more.
    pub(super) fn end(&self, unwelcome: &RevokedSessions) {
        for open in &self.open {
            if let Some(code) = unwelcome.close_code_for(&open.identity) {
                open.outbox.end(code);
            }
        }
    }

    pub(super) fn remove(&self, outbox: &Outbox) {
        self.open.remove(&outbox.id);
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.open.iter().for_each(|open| open.outbox.wake());
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_take_no_more_than_their_own_places() {
        let registry = Registry::new(Places {
            connections: 5,
            per_address: 4,
            per_player: 1,
            unauthenticated: 3,
            unauthenticated_per_address: 2,
        });
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
        let mut first = registry.admit(here, false).expect("a place");
        let _second = registry.admit(here, false).expect("a place");
        assert!(
            registry.admit(here, false).is_none(),
            "strangers of one address"
        );
        let _third = registry.admit(there, false).expect("a place");
        assert!(registry.admit(there, false).is_none(), "strangers in all");
        let _known = registry
            .admit(here, true)
            .expect("those known have their own");
        first.introduced();
        let last = registry.admit(here, false).expect("one stranger less");
        assert!(registry.admit(here, true).is_none(), "four of one address");
        assert!(registry.admit(there, true).is_none(), "five in all");
        drop(last);
        assert!(
            registry.admit(there, true).is_some(),
            "a refusal takes no place"
        );
    }
}
