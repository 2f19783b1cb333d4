//! Deploys, one after the other, while people play.

use std::env;
use std::path::{Path, PathBuf};

use raidhall_loadtest::run::{Codecs, Disturb, Nodes, Steady, cluster_on};
use raidhall_loadtest::spawn::{Server, Setup};

use crate::bounded;
use crate::process::Site;
use crate::redis::RedisServer;

const NODES: usize = 3;
/// Seven times around three nodes.
const ROLLS: u32 = 7;

/// The program of the release before this one, if there is one that can run beside it. Whoever runs the tests says so: that it
/// was forgotten must not look like a release that there is not.
fn previous() -> Option<PathBuf> {
    let path =
        env::var_os("RAIDHALL_TEST_PREVIOUS").expect("a program or nothing, as `make test` says");
    Some(path)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

#[tokio::test]
async fn twenty_one_deploys_of_one_node_after_the_other_lose_nothing_and_nobody_notices() {
    bounded(async {
        let (site, redis) = (Site::postgres().await, RedisServer::start().await);
        let binary = Path::new(env!("CARGO_BIN_EXE_raidhall"));
        let mut servers = Vec::new();
        for _ in 0..NODES {
            let setup = Setup {
                binary: binary.to_owned(),
                database: Some(site.url()),
                bus: Some(redis.url()),
                settings: vec![("SHUTDOWN__SPREAD_MS".to_owned(), "300".to_owned())],
            };
            servers.push(Server::start_with(setup).await.expect("a node"));
        }
        let mut nodes = Nodes::of(servers).expect("nodes");
        if let Some(previous) = previous() {
            nodes.alternate(binary.to_owned(), previous);
        }
        let steady = Steady {
            raids: 3,
            players: 4,
            seconds: 1,
            signals_per_second: 0.5,
            commands_per_second: 3.0,
            codec: Codecs::Both,
            seed: 1,
        };
        let disturb = Disturb {
            roll: Some(ROLLS),
            ..Disturb::default()
        };
        let report = cluster_on(nodes, &steady, &disturb)
            .await
            .expect("a report");
        // A lost acknowledgement, somebody shown gone who was there, and a lead that moved are violations.
        assert!(report.violations.is_empty(), "{report}");
        let figures = report.cluster.as_ref().expect("figures");
        assert_eq!(figures.rolls, u64::from(ROLLS) * NODES as u64, "{report}");
        assert_eq!((figures.shown_gone, figures.deposed), (0, 0), "{report}");
        assert!(
            report.judged.acks > 500 && report.counted.reconnects > 40,
            "{report}"
        );
        println!("{report}");
    })
    .await;
}
