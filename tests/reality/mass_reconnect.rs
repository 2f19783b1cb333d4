//! Thousands of clients lose their connections at the same moment, and reconnect to the remaining
//! nodes.

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
/// Devices per member, all of which watch.
const DEVICES: usize = 10;
const CLIENTS: usize = RAIDS * MEMBERS * DEVICES;
/// How long it may take until all clients watch again.
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// How long clients of the other nodes may wait for an ack during the reconnects: the maximum and
/// the median. The reconnecting clients, the nodes and their database and Redis share this
/// machine's cores.
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
        let mut cluster = Cluster::start(3).await;
        let at = |index: usize| *cluster.servers[index].target();
        let target_lists = [[2, 0, 1], [2, 1, 0]]
            .map(|order| Targets::new(order.map(at).to_vec()).expect("three"));
        let elsewhere = Targets::new(vec![at(0), at(1)]).expect("two");

        let mut groups = Vec::new();
        let mut talkers = Vec::new();
        for number in 0..RAIDS {
            let mut group = RaidGroup::create_with_devices(
                &target_lists[number % 2],
                MEMBERS,
                DEVICES,
                &long_raid(MEMBERS),
            )
            .await;
            let raid = group.raid;
            for player in &mut group.players {
                player.watch(raid).await;
            }
            let talker = group.add_member().await;
            talkers.push((
                raid,
                group.players[0].rest().with_token(&talker.access_token),
            ));
            groups.push(group.start_playing_at_pace(0, PACE));
            wait_until_all_watch(
                &groups,
                (number + 1) * MEMBERS * DEVICES,
                Duration::from_secs(60),
            )
            .await;
        }
        let others = RaidGroup::start_on(&elsewhere, 4, &long_raid(4))
            .await
            .start_playing_at_pace(4, PACE);
        others.wait_for_events(20).await;

        cluster.kill(2).await;
        let killed = Instant::now();
        // Events are committed while the clients are away.
        let sending = talkers.into_iter().map(|(raid, rest)| {
            let rest = rest.with_retry_timeout(RECONNECT_MAX);
            tokio::spawn(async move { rest.send_command(raid, Some(&op()), &command()).await })
        });
        let sending: Vec<_> = sending.collect();
        // Wait for the disconnects first, or the old watches would be counted.
        while groups
            .iter()
            .map(PlayingGroup::watching_count)
            .sum::<usize>()
            == CLIENTS
        {
            sleep(Duration::from_millis(1)).await;
        }
        wait_until_all_watch(&groups, CLIENTS, RECONNECT_MAX).await;
        println!(
            "{CLIENTS} clients were watching again after {:?}",
            killed.elapsed()
        );
        for sending in sending {
            sending.await.expect("a talker").expect("acknowledged");
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
        let waits_elsewhere = waits.connected.figures();
        println!("meanwhile the others waited {waits_elsewhere:?}");
        assert!(
            waits_elsewhere.wait.max_ms < ACK_WAIT_MAX_MS
                && waits_elsewhere.wait.p50_ms < ACK_WAIT_MEDIAN_MAX_MS,
            "{waits_elsewhere:?}"
        );

        let mut all = Verdict::default();
        for game in groups {
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
