//! The servers of a cluster as a client knows them: where each listens now, and which one is its
//! home.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::network::{Loopback, Network};
use crate::target::Target;

/// One server or several. Clones share the addresses, so that every clone finds a server that
/// moved; each clone has its own home.
#[derive(Debug, Clone)]
pub struct Targets {
    addresses: Arc<RwLock<Vec<Target>>>,
    home: usize,
    network: Arc<dyn Network>,
}

impl Targets {
    /// Creates the list with its first server as home.
    ///
    /// # Errors
    /// The list is empty.
    pub fn new(targets: Vec<Target>) -> anyhow::Result<Targets> {
        anyhow::ensure!(!targets.is_empty(), "a client needs a server");
        Ok(Targets {
            addresses: Arc::new(RwLock::new(targets)),
            home: 0,
            network: Arc::new(Loopback),
        })
    }

    /// Returns the same servers, reached over another network.
    #[must_use]
    pub fn over(self, network: Arc<dyn Network>) -> Targets {
        Targets { network, ..self }
    }

    pub(crate) const fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    /// Returns the same servers with another home; the index wraps around.
    pub fn with_home(&self, home: usize) -> Targets {
        Targets {
            home: home % self.count(),
            ..self.clone()
        }
    }

    /// Returns the server at this index alone, where it listens now.
    #[must_use]
    pub fn only(&self, index: usize) -> Targets {
        Targets {
            addresses: Arc::new(RwLock::new(vec![self.get(index)])),
            home: 0,
            network: Arc::clone(&self.network),
        }
    }

    pub fn count(&self) -> usize {
        self.addresses.read().len()
    }

    /// Returns the index of the home server.
    pub const fn home(&self) -> usize {
        self.home
    }

    /// Returns the index after this one; the last is followed by the first.
    pub fn next_after(&self, index: usize) -> usize {
        (index + 1) % self.count()
    }

    /// Returns where the server at this index listens now; the index wraps around.
    pub fn get(&self, index: usize) -> Target {
        let addresses = self.addresses.read();
        addresses[index % addresses.len()]
    }

    /// Sets where the server at this index listens from now on, for all clones.
    pub fn set_target(&self, index: usize, to: Target) {
        let mut addresses = self.addresses.write();
        let count = addresses.len();
        addresses[index % count] = to;
    }
}

impl From<Target> for Targets {
    fn from(target: Target) -> Targets {
        Targets {
            addresses: Arc::new(RwLock::new(vec![target])),
            home: 0,
            network: Arc::new(Loopback),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> Target {
        Target::parse(&format!("http://127.0.0.1:{port}")).unwrap()
    }

    #[test]
    fn a_moved_server_is_found_by_every_clone_of_the_targets() {
        let targets = Targets::new(vec![target(1), target(2), target(3)]).unwrap();
        let other = targets.with_home(4);
        assert_eq!(
            (targets.home(), other.home(), other.next_after(2)),
            (0, 1, 0)
        );
        targets.set_target(1, target(9));
        assert_eq!(other.get(other.home()), target(9));
        assert_eq!(other.get(5), target(3), "the index wraps around");
        assert!(Targets::new(Vec::new()).is_err());
    }
}
