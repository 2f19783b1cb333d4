//! Players that know several servers move to another one when theirs dies.

use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::ack_waits::AckWaits;
use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::client_log::{Observation, RunClock};
use raidhall_loadtest::judge::judge;
use raidhall_loadtest::play::{
    BotGroup, BotHabits, BotPace, GroupOutcome, GroupPlan, OtherPlayers, TrafficCounters,
};
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::Codec;
use tokio::time::{sleep, timeout};

use crate::fake::{FakeFault, FakeNodes};

const PATIENCE: Duration = Duration::from_secs(60);

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting until {what}"));
}

fn target(nodes: &FakeNodes, node: usize) -> Target {
    Target::parse(&nodes.url(node)).unwrap()
}

fn plan() -> GroupPlan {
    let poll_interval = Duration::from_millis(20);
    GroupPlan {
        index: 0,
        players: 4,
        codecs: &Codec::ALL,
        seed: 3,
        pace: BotPace {
            commands_per_second: 20.0,
            signals_per_second: 0.0,
            reads_per_second: 0.0,
            poll_interval,
        },
        is_winnable: false,
        time_limit: None,
        habits: BotHabits::default(),
        active_players: 4,
        others: OtherPlayers::default(),
    }
}

/// Returns the servers that each player was connected to, in order.
fn servers_by_player(outcome: &GroupOutcome) -> Vec<Vec<usize>> {
    let connected = |entry: &Observation| match entry {
        Observation::Connected { server, .. } => Some(*server),
        _ => None,
    };
    let mut servers: Vec<_> = outcome
        .ledgers
        .iter()
        .map(|log| {
            let servers = log
                .entries()
                .iter()
                .filter_map(|record| connected(&record.observation))
                .collect();
            (log.client.clone(), servers)
        })
        .collect();
    servers.sort();
    servers.into_iter().map(|(_, servers)| servers).collect()
}

#[tokio::test]
async fn players_spread_over_servers_and_move_when_a_server_dies() {
    let mut nodes = FakeNodes::serve(FakeFault::None, 2).await;
    let targets = Targets::new(vec![target(&nodes, 0), target(&nodes, 1)]).unwrap();
    let rest = RestClient::with_targets(targets.clone()).unwrap();
    let mut group = BotGroup::create(&rest, plan()).await.unwrap();
    let meter: Arc<TrafficCounters> = Arc::default();
    group.connect(&rest, RunClock::start(), &meter);
    wait_until("all players are shown online to each other", || {
        group.fully_online_count() == 4
    })
    .await;
    group.start_playing();
    wait_until("commands are acknowledged", || meter.read().acks > 20).await;
    nodes.kill(0);
    let acks = meter.read().acks;
    wait_until("commands are acknowledged without the first server", || {
        meter.read().acks > acks + 40
    })
    .await;
    nodes.restart(0).await;
    targets.set_target(0, target(&nodes, 0));
    nodes.kill(1);
    let acks = meter.read().acks;
    wait_until(
        "commands are acknowledged by the first server, which has moved",
        || meter.read().acks > acks + 40,
    )
    .await;
    let outcome = group.settle().await.unwrap();
    assert_eq!(
        servers_by_player(&outcome),
        [vec![0, 1, 0], vec![1, 0], vec![0, 1, 0], vec![1, 0]]
    );
    let verdict = judge(outcome.raid, &outcome.ledgers, Some(&outcome.server_record));
    verdict.assert_no_violations();
    assert!(verdict.resumes == 6 && verdict.replays == 6, "{verdict:?}");
    let mut waits = AckWaits::default();
    waits.add(outcome.raid, &outcome.ledgers, &[]);
    assert_eq!(
        waits.connected.figures().wait.count + waits.reconnected.figures().wait.count,
        verdict.acks
    );
}

#[tokio::test]
async fn a_request_to_a_dead_server_is_answered_by_another_at_once() {
    let nodes = FakeNodes::serve(FakeFault::None, 3).await;
    let targets = Targets::new((0..3).map(|node| target(&nodes, node)).collect()).unwrap();
    let rest = RestClient::with_targets(targets).unwrap();
    nodes.kill(0);
    nodes.kill(2);
    wait_until("the killed servers refuse connections", || {
        [0, 2]
            .iter()
            .all(|node| std::net::TcpStream::connect(target(&nodes, *node).address()).is_err())
    })
    .await;
    for home in 0..3 {
        rest.with_home(home).sign_in_guest("Ada").await.unwrap();
    }
    nodes.kill(1);
    wait_until("the last server refuses connections", || {
        std::net::TcpStream::connect(target(&nodes, 1).address()).is_err()
    })
    .await;
    assert!(rest.sign_in_guest("Ada").await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn a_player_with_a_single_server_reconnects_to_it() {
    let mut nodes = FakeNodes::serve(FakeFault::None, 1).await;
    let targets = Targets::from(target(&nodes, 0));
    let rest = RestClient::with_targets(targets.clone()).unwrap();
    let mut group = BotGroup::create(&rest, plan()).await.unwrap();
    let meter: Arc<TrafficCounters> = Arc::default();
    group.connect(&rest, RunClock::start(), &meter);
    wait_until("all players watch", || group.watching_count() == 4).await;
    group.start_playing();
    nodes.kill(0);
    nodes.restart(0).await;
    targets.set_target(0, target(&nodes, 0));
    let acks = meter.read().acks;
    wait_until("commands are acknowledged", || {
        meter.read().acks > acks + 20
    })
    .await;
    let outcome = group.settle().await.unwrap();
    assert_eq!(servers_by_player(&outcome), vec![vec![0, 0]; 4]);
    judge(outcome.raid, &outcome.ledgers, Some(&outcome.server_record)).assert_no_violations();
}
