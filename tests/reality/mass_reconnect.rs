//! Thousands of clients lose their connections in the same moment, and all come back to the nodes that are left.

use std::time::Duration;

use raidhall_loadtest::ack_waits::AckWaits;
use raidhall_loadtest::judge::Verdict;
use raidhall_loadtest::process::raise_open_files_limit;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::{Command, OpKey};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::raid_group::{PlayingGroup, RaidGroup, long_raid};
use crate::run_exclusively;

const RAIDS: usize = 20;
const MEMBERS: usize = 10;
/// Everybody has as many devices, all of which watch.
const DEVICES: usize = 10;
const CLIENTS: usize = RAIDS * MEMBERS * DEVICES;
/// How long it may take until all watch again.
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// How long whoever is connected elsewhere may wait for an answer while the crowd comes in: at most, and as a rule. The
/// crowd, the nodes and what they stand on share this machine's cores.
const ACK_WAIT_MAX_MS: f64 = 10_000.0;
const ACK_WAIT_MEDIAN_MAX_MS: f64 = 1_000.0;
const PACE: Duration = Duration::from_millis(250);

async fn wait_until_all_watch(games: &[PlayingGroup], count: usize, patience: Duration) {
    let until = Instant::now() + patience;
    loop {
        let watching: usize = games.iter().map(PlayingGroup::watching_count).sum();
        if watching == count {
            return;
        }
        assert!(
            Instant::now() < until,
            "{watching} of {count} watch after {patience:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_thousand_clients_of_a_killed_node_reconnect_elsewhere_at_once() {
    run_exclusively(async {
        raise_open_files_limit(CLIENTS as u64 + 512).expect("open files");
        let mut fleet = Cluster::start(3).await;
        let at = |index: usize| *fleet.servers[index].target();
        let ways =
            [[2, 0, 1], [2, 1, 0]].map(|way| Targets::new(way.map(at).to_vec()).expect("three"));
        let elsewhere = Targets::new(vec![at(0), at(1)]).expect("two");

        let (mut crowd, mut talkers) = (Vec::new(), Vec::new());
        for number in 0..RAIDS {
            let mut party = RaidGroup::create_with_devices(
                &ways[number % 2],
                MEMBERS,
                DEVICES,
                &long_raid(MEMBERS),
            )
            .await;
            let raid = party.raid;
            for player in &mut party.players {
                player.watch(raid).await;
            }
            let talker = party.add_member().await;
            talkers.push((
                raid,
                party.players[0].rest().with_token(&talker.access_token),
            ));
            crowd.push(party.start_playing_at_pace(0, PACE));
            wait_until_all_watch(
                &crowd,
                (number + 1) * MEMBERS * DEVICES,
                Duration::from_secs(60),
            )
            .await;
        }
        let others = RaidGroup::start_on(&elsewhere, 4, &long_raid(4))
            .await
            .start_playing_at_pace(4, PACE);
        others.wait_for_events(20).await;

        fleet.kill(2).await;
        let killed = Instant::now();
        // Something happens while they are away.
        let talking = talkers.into_iter().map(|(raid, rest)| {
            let rest = rest.with_retry_timeout(RECONNECT_MAX);
            tokio::spawn(async move { rest.send_command(raid, Some(&op()), &command()).await })
        });
        let talking: Vec<_> = talking.collect();
        // First they are gone, or those of before would be counted.
        while crowd
            .iter()
            .map(PlayingGroup::watching_count)
            .sum::<usize>()
            == CLIENTS
        {
            sleep(Duration::from_millis(1)).await;
        }
        wait_until_all_watch(&crowd, CLIENTS, RECONNECT_MAX).await;
        println!("{CLIENTS} clients were back after {:?}", killed.elapsed());
        for talking in talking {
            talking.await.expect("a talker").expect("acknowledged");
        }
        others.wait_for_events(20).await;

        let others = others.stop().await;
        assert!(
            others
                .players
                .iter()
                .all(|player| player.counts().reconnects == 0)
        );
        let others = others.settle_with_logs().await;
        others.verdict.assert_no_violations();
        let mut waits = AckWaits::default();
        waits.add(others.raid, &others.client_logs, &[]);
        let stood = waits.connected.figures();
        println!("meanwhile the others waited {stood:?}");
        assert!(
            stood.wait.max_ms < ACK_WAIT_MAX_MS && stood.wait.p50_ms < ACK_WAIT_MEDIAN_MAX_MS,
            "{stood:?}"
        );

        let mut all = Verdict::default();
        for game in crowd {
            all.add(game.stop().await.settle().await.0);
        }
        all.assert_no_violations();
        assert_eq!(all.resumes, CLIENTS as u64, "{all:?}");
        assert!(all.replays * 10 >= all.resumes * 9, "{all:?}");
    })
    .await;
}

fn op() -> OpKey {
    OpKey::try_from("once".to_owned()).expect("an op key")
}

fn command() -> Command {
    Command::Say {
        text: "is anybody there?".into(),
    }
}
