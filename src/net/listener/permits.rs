//! How many connections a process has files for, beside those that it needs itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::keyed_limit::{KeyedLimit, Permit};
use crate::net::client_address::{ClientAddress, TrustedProxies};
use crate::telemetry::{AcceptPauseCause, metrics};

/// Files that a process has open besides connections of clients and of its pools: listeners, logs, the runtime's own.
const OWN_FILES: u64 = 48;
/// Even a process that may open next to nothing takes a few.
const PERMITS_MIN: u64 = 8;
/// Where nothing limits files: far more than there can be connections.
const PERMITS_MAX: u64 = 1 << 24;

/// A place for a connection, given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    address_permit: Option<Permit<IpAddr>>,
}

/// How many connections one address may have, whoever is behind it and whatever they do. Proxies have as many as they
/// like: whom they speak for is counted once they say it.
#[derive(Debug, Clone)]
pub struct PerAddressLimit {
    limit: Arc<KeyedLimit<IpAddr>>,
    proxies: TrustedProxies,
}

impl PerAddressLimit {
    /// So many, but for these proxies.
    pub fn new(max: usize, proxies: TrustedProxies) -> PerAddressLimit {
        PerAddressLimit {
            limit: Arc::new(KeyedLimit::new(max)),
            proxies,
        }
    }

    /// Seats a connection from an address, unless it has as many as it may.
    pub fn admit(&self, mut seat: ConnectionPermit, peer: SocketAddr) -> Option<ConnectionPermit> {
        let address = peer.ip().to_canonical();
        if !self.proxies.is_trusted(address) {
            seat.address_permit = Some(KeyedLimit::try_acquire(
                &self.limit,
                ClientAddress(address).network(),
            )?);
        }
        Some(seat)
    }
}

/// Places for connections. Whoever finds none waits where the system queues connections, and costs nothing.
#[derive(Debug, Clone)]
pub struct ConnectionPermits {
    semaphore: Arc<Semaphore>,
    count: usize,
    /// Whether it was said that all are taken.
    has_warned: Arc<AtomicBool>,
}

impl ConnectionPermits {
    /// As many as the process's limit of open files leaves, beside `reserved` for its own connections.
    pub fn from_open_files_limit(reserved: u64) -> ConnectionPermits {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(PERMITS_MAX);
        ConnectionPermits::new(limit.saturating_sub(OWN_FILES + reserved))
    }

    /// So many, within reason.
    pub fn new(count: u64) -> ConnectionPermits {
        let count = count.clamp(PERMITS_MIN, PERMITS_MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        ConnectionPermits {
            semaphore: Arc::new(Semaphore::new(count)),
            count,
            has_warned: Arc::default(),
        }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// A place, as soon as there is one. That all are taken is said once, until a tenth is free again.
    pub async fn acquire(&self) -> ConnectionPermit {
        if let Ok(seat) = Arc::clone(&self.semaphore).try_acquire_owned() {
            if self.semaphore.available_permits() >= self.count / 10 {
                self.has_warned.store(false, Ordering::Relaxed);
            }
            return ConnectionPermit {
                _permit: seat,
                address_permit: None,
            };
        }
        metrics()
            .accept_rests
            .increment(AcceptPauseCause::PermitsExhausted);
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connections = self.count,
                "every file that connections may use is in use: new ones wait (raise the limit of open files)"
            );
        }
        let seat = Arc::clone(&self.semaphore)
            .acquire_owned()
            .await
            .expect("never closed");
        ConnectionPermit {
            _permit: seat,
            address_permit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_free_permit_waits_for_one() {
        let seats = ConnectionPermits::new(0);
        let mut taken = Vec::new();
        for _ in 0..PERMITS_MIN {
            taken.push(seats.acquire().await);
        }
        assert!(
            timeout(Duration::from_secs(1), seats.acquire())
                .await
                .is_err()
        );
        taken.pop();
        let _seat = timeout(Duration::from_secs(1), seats.acquire())
            .await
            .expect("one was given back");
    }

    #[tokio::test]
    async fn an_address_is_limited_and_a_trusted_proxy_is_not() {
        let (seats, proxy) = (
            ConnectionPermits::new(100),
            "10.0.0.1".parse().expect("an address"),
        );
        let part =
            PerAddressLimit::new(2, TrustedProxies::new(vec![IpNet::from(IpAddr::V4(proxy))]));
        let admit =
            async |peer: &str| part.admit(seats.acquire().await, peer.parse().expect("an address"));
        let _first = admit("[2001:db8::1]:4000").await.expect("a seat");
        let second = admit("[2001:db8::2]:4000").await.expect("a seat");
        assert!(
            admit("[2001:db8::3]:4000").await.is_none(),
            "of one network"
        );
        let _others = admit("[2001:db8:0:1::1]:4000").await.expect("of another");
        for _ in 0..5 {
            std::mem::forget(admit("10.0.0.1:4000").await.expect("a proxy"));
        }
        drop(second);
        assert!(admit("[2001:db8::3]:4000").await.is_some(), "given back");
    }
}
