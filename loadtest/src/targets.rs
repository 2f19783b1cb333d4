//! The servers of a cluster as a client knows them: where each listens now, and which one is its home.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::target::Target;

/// One server or several. Clones share the addresses, so that a server that moves is found by all who know it; each
/// clone has a home of its own.
#[derive(Debug, Clone)]
pub struct Targets {
    addresses: Arc<RwLock<Vec<Target>>>,
    home: usize,
}

impl Targets {
    /// The first is home.
    ///
    /// # Errs
    /// When there is none.
    pub fn new(targets: Vec<Target>) -> anyhow::Result<Targets> {
        anyhow::ensure!(!targets.is_empty(), "a client needs a server");
        Ok(Targets {
            addresses: Arc::new(RwLock::new(targets)),
            home: 0,
        })
    }

    /// The same servers, with the home at this place; counting goes round.
    pub fn with_home(&self, home: usize) -> Targets {
        Targets {
            addresses: Arc::clone(&self.addresses),
            home: home % self.count(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.addresses.read().len()
    }

    /// The place of home.
    pub const fn home(&self) -> usize {
        self.home
    }

    /// The place after this one.
    pub fn next_after(&self, place: usize) -> usize {
        (place + 1) % self.count()
    }

    /// Where the server at this place listens now; counting goes round.
    pub fn get(&self, place: usize) -> Target {
        let addresses = self.addresses.read();
        addresses[place % addresses.len()]
    }

    /// Tells everybody that the server at this place listens elsewhere from now on.
    pub fn set_target(&self, place: usize, to: Target) {
        let mut addresses = self.addresses.write();
        let count = addresses.len();
        addresses[place % count] = to;
    }
}

impl From<Target> for Targets {
    fn from(target: Target) -> Targets {
        Targets {
            addresses: Arc::new(RwLock::new(vec![target])),
            home: 0,
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
        assert_eq!(other.get(5), target(3), "counting goes round");
        assert!(Targets::new(Vec::new()).is_err());
    }
}
