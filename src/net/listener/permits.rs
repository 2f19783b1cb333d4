//! Permits for connections, as many as the process's limit of open files leaves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::keyed_limit::{KeyedLimit, Permit};
use crate::net::client_address::{ClientAddress, TrustedProxies};
use crate::telemetry::{AcceptPauseCause, metrics};

/// Files that a process has open besides connections of clients and of its pools: listeners, logs,
/// the runtime's own.
const OWN_FILES: u64 = 48;
/// Minimum number of permits, even if the process may open almost no files.
const PERMITS_MIN: u64 = 8;
/// Maximum number of permits, for systems without a limit of open files: far more than there can be
/// connections.
const PERMITS_MAX: u64 = 1 << 24;

/// The right to hold one connection, given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    address_permit: Option<Permit<IpAddr>>,
}

/// Limit on the connections of one address, whatever the clients behind it do. Trusted proxies are
/// exempt: their clients are counted once the proxy has named them.
#[derive(Debug, Clone)]
pub struct PerAddressLimit {
    limit: Arc<KeyedLimit<IpAddr>>,
    proxies: TrustedProxies,
}

impl PerAddressLimit {
    /// Creates a limit of `max` connections per address, from which `proxies` are exempt.
    pub fn new(max: usize, proxies: TrustedProxies) -> PerAddressLimit {
        PerAddressLimit {
            limit: Arc::new(KeyedLimit::new(max)),
            proxies,
        }
    }

    /// Adds the address's permit to a connection's; `None` if the address has reached its limit.
    pub fn admit(
        &self,
        mut permit: ConnectionPermit,
        peer: SocketAddr,
    ) -> Option<ConnectionPermit> {
        let address = peer.ip().to_canonical();
        if !self.proxies.is_trusted(address) {
            permit.address_permit = Some(KeyedLimit::try_acquire(
                &self.limit,
                ClientAddress(address).network(),
            )?);
        }
        Some(permit)
    }
}

/// Permits for connections. A connection without a permit waits in the system's accept queue and
/// costs nothing.
#[derive(Debug, Clone)]
pub struct ConnectionPermits {
    semaphore: Arc<Semaphore>,
    count: usize,
    /// Whether the lack of permits was logged.
    has_warned: Arc<AtomicBool>,
}

impl ConnectionPermits {
    /// Creates as many permits as the process's limit of open files leaves, besides `reserved` for
    /// its own connections.
    pub fn from_open_files_limit(reserved: u64) -> ConnectionPermits {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(PERMITS_MAX);
        ConnectionPermits::new(limit.saturating_sub(OWN_FILES + reserved))
    }

    /// Creates `count` permits, within reasonable bounds.
    pub fn new(count: u64) -> ConnectionPermits {
        let count = count.clamp(PERMITS_MIN, PERMITS_MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        ConnectionPermits {
            semaphore: Arc::new(Semaphore::new(count)),
            count,
            has_warned: Arc::default(),
        }
    }

    /// Returns the total number of permits.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Waits for a permit. The lack of permits is logged once, and again only after a tenth was
    /// free.
    pub async fn acquire(&self) -> ConnectionPermit {
        if let Ok(permit) = Arc::clone(&self.semaphore).try_acquire_owned() {
            if self.semaphore.available_permits() >= self.count / 10 {
                self.has_warned.store(false, Ordering::Relaxed);
            }
            return ConnectionPermit {
                _permit: permit,
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
        let permit = Arc::clone(&self.semaphore)
            .acquire_owned()
            .await
            .expect("never closed");
        ConnectionPermit {
            _permit: permit,
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
        let permits = ConnectionPermits::new(0);
        let mut taken = Vec::new();
        for _ in 0..PERMITS_MIN {
            taken.push(permits.acquire().await);
        }
        assert!(
            timeout(Duration::from_secs(1), permits.acquire())
                .await
                .is_err()
        );
        taken.pop();
        let _permit = timeout(Duration::from_secs(1), permits.acquire())
            .await
            .expect("one was given back");
    }

    #[tokio::test]
    async fn an_address_is_limited_and_a_trusted_proxy_is_not() {
        let permits = ConnectionPermits::new(100);
        let proxy = "10.0.0.1".parse().expect("an address");
        let limit =
            PerAddressLimit::new(2, TrustedProxies::new(vec![IpNet::from(IpAddr::V4(proxy))]));
        let admit = async |peer: &str| {
            limit.admit(permits.acquire().await, peer.parse().expect("an address"))
        };
        let _first = admit("[2001:db8::1]:4000").await.expect("a permit");
        let second = admit("[2001:db8::2]:4000").await.expect("a permit");
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
