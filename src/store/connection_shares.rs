//! How the connections to a database are shared out.

/// The largest number of connections for each purpose, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionShares {
    /// For commits: half of all, so that no number of reads can hold up a raid.
    pub commits: usize,
    /// For what sessions wait for: a quarter.
    pub sessions: usize,
    /// For everything else: a quarter.
    pub general: usize,
}

impl ConnectionShares {
    /// Shares out `connections_max` connections. Below four, each purpose still gets one.
    pub fn new(connections_max: u32) -> ConnectionShares {
        let all = connections_max.max(2) as usize;
        let reads = all / 2;
        ConnectionShares {
            commits: all - reads,
            sessions: reads.div_ceil(2),
            general: (reads / 2).max(1),
        }
    }

    /// Returns how many raids may be loaded at once. After another instance's death, the loads of
    /// its raids leave a connection for claims, if there is more than one.
    pub fn loads_max(self) -> usize {
        (self.sessions - 1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_connections_are_shared_out_and_each_purpose_has_one() {
        for all in 2..=1_000 {
            let shares = ConnectionShares::new(all);
            let ConnectionShares {
                commits,
                sessions,
                general,
            } = shares;
            let extra = usize::from(all < 4);
            assert_eq!(commits + sessions + general, all as usize + extra);
            assert!(commits >= sessions && sessions >= general && general >= 1);
            assert!((1..=sessions).contains(&shares.loads_max()));
        }
    }
}
