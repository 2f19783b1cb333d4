//! Thousands of clients lose their connections in the same moment, and all come back to the nodes that are left.

use std::time::Duration;

use raidhall_loadtest::judge::Verdict;
use raidhall_loadtest::process::allow_files;
use raidhall_loadtest::targets::Targets;
use raidhall_loadtest::waits::Waits;
use raidhall_protocol::{Command, OpKey};
use tokio::time::{Instant, sleep};

use crate::fleet::Fleet;
use crate::party::{Game, Party, long_raid};
use crate::undisturbed;

const RAIDS: usize = 20;
const MEMBERS: usize = 10;
/// Everybody has as many devices, all of which watch.
const DEVICES: usize = 10;
const CROWD: usize = RAIDS * MEMBERS * DEVICES;
/// How long it may take until all watch again.
const RETURN_MAX: Duration = Duration::from_secs(30);
/// How long whoever is connected elsewhere may wait for an answer while the crowd comes in: at most, and as a rule. The
/// crowd, the nodes and what they stand on share this machine's cores.
const WAIT_MAX_MS: f64 = 10_000.0;
const WAIT_MEDIAN_MS: f64 = 1_000.0;
const PACE: Duration = Duration::from_millis(250);

async fn all_watch(games: &[Game], count: usize, patience: Duration) {
    let until = Instant::now() + patience;
    loop {
        let watching: usize = games.iter().map(Game::watching).sum();
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
async fn two_thousand_clients_of_a_killed_node_come_back_at_once_and_the_others_hardly_notice() {
    undisturbed(async {
        allow_files(CROWD as u64 + 512).expect("open files");
        let mut fleet = Fleet::of(3).await;
        let at = |index: usize| *fleet.servers[index].target();
        let ways =
            [[2, 0, 1], [2, 1, 0]].map(|way| Targets::new(way.map(at).to_vec()).expect("three"));
        let elsewhere = Targets::new(vec![at(0), at(1)]).expect("two");

        let (mut crowd, mut talkers) = (Vec::new(), Vec::new());
        for number in 0..RAIDS {
            let mut party =
                Party::crowd(&ways[number % 2], MEMBERS, DEVICES, &long_raid(MEMBERS)).await;
            let raid = party.raid;
            for player in &mut party.players {
                player.watch(raid).await;
            }
            let talker = party.witness().await;
            talkers.push((
                raid,
                party.players[0].rest().with_token(&talker.access_token),
            ));
            crowd.push(party.play_gently(0, PACE));
            all_watch(
                &crowd,
                (number + 1) * MEMBERS * DEVICES,
                Duration::from_secs(60),
            )
            .await;
        }
        let others = Party::at_play_over(&elsewhere, 4, &long_raid(4))
            .await
            .play_gently(4, PACE);
        others.goes_on(20).await;

        fleet.kill(2).await;
        let killed = Instant::now();
        // Something happens while they are away.
        let talking = talkers.into_iter().map(|(raid, rest)| {
            let rest = rest.with_patience(RETURN_MAX);
            tokio::spawn(async move { rest.command(raid, Some(&op()), &command()).await })
        });
        let talking: Vec<_> = talking.collect();
        // First they are gone, or those of before would be counted.
        while crowd.iter().map(Game::watching).sum::<usize>() == CROWD {
            sleep(Duration::from_millis(1)).await;
        }
        all_watch(&crowd, CROWD, RETURN_MAX).await;
        println!("{CROWD} clients were back after {:?}", killed.elapsed());
        for talking in talking {
            talking.await.expect("a talker").expect("acknowledged");
        }
        others.goes_on(20).await;

        let others = others.stop().await;
        assert!(
            others
                .players
                .iter()
                .all(|player| player.tally().reconnects == 0)
        );
        let others = others.settle_in_full().await;
        others.verdict.expect_innocent();
        let mut waits = Waits::default();
        waits.add(others.raid, &others.ledgers, &[]);
        let stood = waits.stood.figures();
        println!("meanwhile the others waited {stood:?}");
        assert!(
            stood.wait.max_ms < WAIT_MAX_MS && stood.wait.p50_ms < WAIT_MEDIAN_MS,
            "{stood:?}"
        );

        let mut all = Verdict::default();
        for game in crowd {
            all.add(game.stop().await.settle().await.0);
        }
        all.expect_innocent();
        assert_eq!(all.resumes, CROWD as u64, "{all:?}");
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
