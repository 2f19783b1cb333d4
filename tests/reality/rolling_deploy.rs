//! Rolling deploys while bots play.

use std::env;
use std::path::{Path, PathBuf};

use raidhall_loadtest::run::{Codecs, DisturbanceArgs, SteadyLoadArgs, run_on_nodes};

use crate::load_tester::start_nodes;
use crate::process::TestDatabase;
use crate::redis::RedisProcess;
use crate::with_timeout;

const NODES: usize = 3;
/// Restarts of every node: seven times three deploys.
const RESTART_ROUNDS: u32 = 7;

/// Returns the binary of the previous release; `None` if no release can run beside this one.
/// `RAIDHALL_TEST_PREVIOUS` must be set and is empty in that case, so that a forgotten variable
/// does not look like it.
fn previous_release_binary() -> Option<PathBuf> {
    let path =
        env::var_os("RAIDHALL_TEST_PREVIOUS").expect("a program or nothing, as `make test` says");
    Some(path)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

#[tokio::test]
async fn twenty_one_rolling_deploys_lose_no_event_and_show_no_absence() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let redis = RedisProcess::start().await;
        let binary = Path::new(env!("CARGO_BIN_EXE_raidhall"));
        let settings = [("SHUTDOWN__SPREAD_MS", "300")];
        let mut nodes = start_nodes(NODES, &database, &redis, &settings).await;
        if let Some(previous) = previous_release_binary() {
            nodes.set_alternating_binaries(binary.to_owned(), previous);
        }
        let steady = SteadyLoadArgs {
            raids: 3,
            players: 4,
            seconds: 1,
            signals_per_second: 0.5,
            commands_per_second: 3.0,
            codec: Codecs::Both,
            seed: 1,
        };
        let disturb = DisturbanceArgs {
            roll: Some(RESTART_ROUNDS),
            ..DisturbanceArgs::default()
        };
        let report = run_on_nodes(nodes, &steady, &disturb)
            .await
            .expect("a report");
        // A lost ack, a player shown offline who was online, and a lead that moved are violations.
        assert!(report.violations.is_empty(), "{report}");
        let figures = report.cluster.as_ref().expect("figures");
        assert_eq!(
            figures.rolls,
            u64::from(RESTART_ROUNDS) * NODES as u64,
            "{report}"
        );
        assert_eq!((figures.shown_gone, figures.deposed), (0, 0), "{report}");
        assert!(
            report.judged.acks > 500 && report.counted.reconnects > 40,
            "{report}"
        );
        println!("{report}");
    })
    .await;
}
