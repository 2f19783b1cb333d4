//! Players who know several servers go on at another one when theirs dies.

use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_loadtest::judge::judge;
use raidhall_loadtest::ledger::{Entry, RunClock};
use raidhall_loadtest::play::{Meter, Outcome, Pace, Party, Plan};
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_loadtest::waits::Waits;
use raidhall_protocol::Codec;
use tokio::time::{sleep, timeout};

use crate::fake::{Fault, Nodes};

const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("in vain: {what}"));
}

fn target(nodes: &Nodes, node: usize) -> Target {
    Target::parse(&nodes.url(node)).unwrap()
}

fn plan() -> Plan {
    let look = Duration::from_millis(20);
    Plan {
        index: 0,
        players: 4,
        codecs: &Codec::ALL,
        seed: 3,
        pace: Pace {
            commands_per_second: 20.0,
            signals_per_second: 0.0,
            look,
        },
        to_be_won: false,
        restless: false,
        actors: 4,
    }
}

/// The servers that each player was connected to, in turn.
fn servers(outcome: &Outcome) -> Vec<Vec<usize>> {
    let connected = |entry: &Entry| match entry {
        Entry::Connected { server, .. } => Some(*server),
        _ => None,
    };
    let mut servers: Vec<_> = outcome
        .ledgers
        .iter()
        .map(|ledger| {
            let servers = ledger
                .records()
                .iter()
                .filter_map(|record| connected(&record.entry))
                .collect();
            (ledger.client.clone(), servers)
        })
        .collect();
    servers.sort();
    servers.into_iter().map(|(_, servers)| servers).collect()
}

#[tokio::test]
async fn players_are_spread_over_the_servers_and_move_on_when_theirs_dies() {
    let mut nodes = Nodes::serve(Fault::None, 2).await;
    let targets = Targets::new(vec![target(&nodes, 0), target(&nodes, 1)]).unwrap();
    let rest = Rest::over(targets.clone()).unwrap();
    let mut party = Party::gather(&rest, plan()).await.unwrap();
    let meter: Arc<Meter> = Arc::default();
    party.connect(&rest, RunClock::start(), &meter);
    until("all are shown all", || party.complete() == 4).await;
    party.play();
    until("they play", || meter.read().acks > 20).await;
    nodes.kill(0);
    let acks = meter.read().acks;
    until("they play on without the first", || {
        meter.read().acks > acks + 40
    })
    .await;
    nodes.start_again(0).await;
    targets.moved(0, target(&nodes, 0));
    nodes.kill(1);
    let acks = meter.read().acks;
    until("they play on at the first, which has moved", || {
        meter.read().acks > acks + 40
    })
    .await;
    let outcome = party.rest().await.unwrap();
    assert_eq!(
        servers(&outcome),
        [vec![0, 1, 0], vec![1, 0], vec![0, 1, 0], vec![1, 0]]
    );
    let verdict = judge(outcome.raid, &outcome.ledgers, Some(&outcome.truth));
    verdict.expect_innocent();
    assert!(verdict.resumes == 6 && verdict.replays == 6, "{verdict:?}");
    let mut waits = Waits::default();
    waits.add(outcome.raid, &outcome.ledgers, &[]);
    assert_eq!(
        waits.stood.figures().wait.count + waits.torn.figures().wait.count,
        verdict.acks
    );
}

#[tokio::test]
async fn a_request_whose_server_is_dead_is_answered_by_another_at_once() {
    let nodes = Nodes::serve(Fault::None, 3).await;
    let targets = Targets::new((0..3).map(|node| target(&nodes, node)).collect()).unwrap();
    let rest = Rest::over(targets).unwrap();
    nodes.kill(0);
    nodes.kill(2);
    until("the dead refuse", || {
        [0, 2]
            .iter()
            .all(|node| std::net::TcpStream::connect(target(&nodes, *node).address()).is_err())
    })
    .await;
    for home in 0..3 {
        rest.at(home).guest("Ada").await.unwrap();
    }
    nodes.kill(1);
    until("the last refuses", || {
        std::net::TcpStream::connect(target(&nodes, 1).address()).is_err()
    })
    .await;
    assert!(rest.guest("Ada").await.unwrap_err().retry());
}

#[tokio::test]
async fn a_player_of_one_server_comes_back_to_it() {
    let mut nodes = Nodes::serve(Fault::None, 1).await;
    let targets = Targets::from(target(&nodes, 0));
    let rest = Rest::over(targets.clone()).unwrap();
    let mut party = Party::gather(&rest, plan()).await.unwrap();
    let meter: Arc<Meter> = Arc::default();
    party.connect(&rest, RunClock::start(), &meter);
    until("all watch", || party.watching() == 4).await;
    party.play();
    nodes.kill(0);
    nodes.start_again(0).await;
    targets.moved(0, target(&nodes, 0));
    let acks = meter.read().acks;
    until("they play on", || meter.read().acks > acks + 20).await;
    let outcome = party.rest().await.unwrap();
    assert_eq!(servers(&outcome), vec![vec![0, 0]; 4]);
    judge(outcome.raid, &outcome.ledgers, Some(&outcome.truth)).expect_innocent();
}
