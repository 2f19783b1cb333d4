//! What the bus loses, repeats, reorders and invents: nothing of it is ever wrong at a client.

use std::time::Duration;

use raidhall_loadtest::targets::Targets;
use tokio::time::{Instant, sleep, timeout};

use crate::bounded;
use crate::eavesdropper::{Eavesdropper, Overheard, shuffled};
use crate::fleet::Fleet;
use crate::instruments::METRICS;
use crate::lookout::Lookout;
use crate::party::{Party, long_raid};
use crate::process::Site;
use crate::redis::{with_messages_swapped, without_messages};

/// How soon the poll of heads heals what nobody knows to be lost.
const HEALED: Duration = Duration::from_secs(6);

async fn measured(count: usize) -> Fleet {
    Fleet::on(Site::postgres().await, count, &[METRICS]).await
}

#[tokio::test]
async fn the_last_message_before_a_silence_is_lost_and_healed_by_the_heads() {
    bounded(async {
        let fleet = measured(2).await;
        let party = fleet.at_play(2, &long_raid(2)).await;
        let (raid, rest) = (party.raid, party.players[0].rest());
        let owner = fleet.owner_of(&rest, raid).await;
        let edge = 1 - owner;
        let token = party.witness().await.access_token;
        let mut own = fleet.wire(owner, raid, &token).await;
        let lookout = Lookout::of(fleet.wire(edge, raid, &token).await);
        let healed = async || {
            fleet.servers[edge]
                .metric("raidhall_gaps_repaired_total{cause=\"head\"}")
                .await
        };
        let before = healed().await;
        for round in 1..=3 {
            fleet.buses[edge].censor(without_messages(&format!("raid:{{{raid}}}:events")));
            let seq = own.say(raid, format!("the last word {round}")).await;
            let said = Instant::now();
            while fleet.buses[edge].censored() < round {
                sleep(Duration::from_millis(1)).await;
            }
            fleet.buses[edge].censor_no_more();
            let late = lookout.saw(seq).await.saturating_duration_since(said);
            assert!(late <= HEALED, "healed after {late:?}");
            assert_eq!(
                fleet.servers[edge].health().await.bus,
                "ok",
                "it knew of nothing"
            );
        }
        assert_eq!(healed().await - before, 3.0, "it was the poll that healed");
        assert!(lookout.saw_no_hole());
        drop((own, lookout));
        judged_quiet(party).await;
    })
    .await;
}

/// A raid in which nobody played: only what was said counts.
async fn judged_quiet(party: Party) {
    let (verdict, _) = party.settle().await;
    verdict.expect_innocent();
}

#[tokio::test]
async fn an_event_whose_acknowledgement_came_and_whose_message_did_not_is_seen_at_once() {
    bounded(async {
        let fleet = measured(2).await;
        let party = fleet.at_play(2, &long_raid(2)).await;
        let (raid, rest) = (party.raid, party.players[0].rest());
        let edge = 1 - fleet.owner_of(&rest, raid).await;
        let token = party.witness().await.access_token;
        let lookout = Lookout::of(fleet.wire(edge, raid, &token).await);
        let mut asking = fleet.wire(edge, raid, &token).await;
        fleet.buses[edge].censor(without_messages(&format!("raid:{{{raid}}}:events")));
        for number in 0..10 {
            let asked = Instant::now();
            let seq = asking.say(raid, format!("unheard {number}")).await;
            let seen = lookout.saw(seq).await.saturating_duration_since(asked);
            assert!(seen < Duration::from_secs(1), "{seen:?}");
        }
        assert!(fleet.buses[edge].censored() >= 10);
        fleet.buses[edge].censor_no_more();
        assert!(lookout.saw_no_hole());
        drop((asking, lookout));
        judged_quiet(party).await;
    })
    .await;
}

/// Says again what was said: the newest, and some of what came shortly before, each twice and in any order.
async fn repeat(eavesdropper: &Eavesdropper) {
    let mut told = 0;
    loop {
        let heard = eavesdropper.heard();
        let new = heard[told..].iter();
        let lately = heard[told.saturating_sub(1_000)..told].to_vec();
        let old = shuffled(lately).into_iter().take(40);
        let again: Vec<_> = new
            .cloned()
            .chain(old)
            .flat_map(|message| [message.clone(), message])
            .collect();
        told = heard.len();
        if !again.is_empty() {
            eavesdropper.say(&shuffled(again)).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Sealed as they are, they are believed at first; what they say is old.
#[tokio::test]
async fn messages_that_are_repeated_and_reordered_change_nothing() {
    bounded(async {
        let fleet = measured(3).await;
        let eavesdropper = Eavesdropper::at(&fleet.redis).await;
        // At two of the three; the last one is the guest's.
        let homes = fleet.servers[..2]
            .iter()
            .map(|server| *server.target())
            .collect();
        let homes = Targets::new(homes).expect("two");
        let party = Party::at_play_over(&homes, 4, &long_raid(4)).await;
        let raid = party.raid;
        let (witness, guest) = (party.witness().await, party.witness().await);
        let mut lookouts = Vec::new();
        for place in 0..2 {
            lookouts.push(Lookout::of(
                fleet.wire(place, raid, &witness.access_token).await,
            ));
        }
        let visit = fleet.wire(2, raid, &guest.access_token).await;
        let store = fleet.site.store().await;
        let before = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        let game = party.play();
        let playing = async {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(12) {
                game.goes_on(20).await;
            }
            let came: Vec<_> = lookouts.iter().map(Lookout::came).collect();
            assert!(
                lookouts.iter().all(|lookout| lookout.gone().is_empty()),
                "nobody has left"
            );
            // From here on there are messages that say otherwise than what is.
            drop(visit);
            let left = Instant::now();
            while lookouts
                .iter()
                .any(|lookout| lookout.gone() != [guest.player.id])
            {
                assert!(
                    left.elapsed() < Duration::from_secs(15),
                    "the guest was said to be there for too long"
                );
                sleep(Duration::from_millis(20)).await;
            }
            let gone = Instant::now();
            while gone.elapsed() < Duration::from_secs(6) {
                game.goes_on(20).await;
            }
            for (lookout, came) in lookouts.iter().zip(came) {
                assert_eq!(
                    (lookout.gone(), lookout.came()),
                    (vec![guest.player.id], came),
                    "and stays away"
                );
                assert!(lookout.saw_no_hole());
            }
            drop(lookouts);
            game.judged().await;
        };
        tokio::select! {
            () = playing => {}
            () = repeat(&eavesdropper) => unreachable!("it repeats for ever"),
        }
        let after = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        assert_eq!((after.owner, after.epoch), (before.owner, before.epoch));
        assert!(
            eavesdropper.heard().len() > 200,
            "there was something to repeat"
        );
        for server in &fleet.servers {
            assert_eq!(server.health().await.bus, "ok");
            assert_eq!(
                server.metric("raidhall_bus_reconnects_total").await,
                0.0,
                "and proved nothing wrong"
            );
            for cause in ["seal", "malformed", "newer"] {
                let series = format!("raidhall_bus_rejected_total{{cause=\"{cause}\"}}");
                assert_eq!(
                    server.metric(&series).await,
                    0.0,
                    "each is genuine, but old"
                );
            }
        }
    })
    .await;
}

/// What a message becomes on its way through bad hands.
fn spoilt((channel, message): Overheard, number: usize) -> Overheard {
    let spoilt = match number % 5 {
        0 => message[..message.len() / 2].to_vec(),
        1 => Vec::new(),
        2 => (0..message.len())
            .map(|at| (at * 31 + number * 17) as u8)
            .collect(),
        3 => [message, vec![0; 64]].concat(),
        _ => {
            let mut flipped = message;
            let place = number * 13 % flipped.len();
            flipped[place] ^= 1 << (number % 8);
            flipped
        }
    };
    (channel, spoilt)
}

#[tokio::test]
async fn garbage_on_the_bus_is_counted_and_changes_nothing() {
    bounded(async {
        let fleet = measured(3).await;
        let eavesdropper = Eavesdropper::at(&fleet.redis).await;
        let party = fleet.at_play(6, &long_raid(6)).await;
        let raid = party.raid;
        let game = party.play();
        // By the instances: the eavesdropper hears everything too.
        let mut heard = 0;
        for round in 0..10 {
            game.goes_on(15).await;
            let overheard = shuffled(eavesdropper.heard()).into_iter().take(100);
            let overheard = overheard
                .filter(|(_, message)| !message.is_empty())
                .enumerate();
            let mut garbage: Vec<_> = overheard
                .map(|(number, message)| spoilt(message, number + round))
                .collect();
            let inbox = garbage
                .iter()
                .map(|(channel, _)| channel)
                .find(|name| name.starts_with("instance:"));
            let inbox = inbox.expect("an inbox").clone();
            for channel in [
                format!("raid:{{{raid}}}:events"),
                format!("raid:{{{raid}}}:live"),
                inbox,
            ] {
                garbage.push((channel, vec![round as u8; 1024 * 1024]));
            }
            heard += eavesdropper
                .say(&garbage)
                .await
                .into_iter()
                .map(|heard| heard - 1)
                .sum::<u64>();
        }
        // All but what looked like a proof of the bus, which is told apart before.
        let counted = async || {
            let mut rejected = 0.0;
            for server in &fleet.servers {
                rejected += server.metric("raidhall_bus_rejected_total").await;
            }
            rejected >= heard as f64 * 0.9
        };
        let all_counted = async {
            while !counted().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), all_counted)
            .await
            .expect("garbage is counted");
        assert!(heard > 1_000, "{heard} pieces of garbage were heard");
        game.judged().await;
        for server in &fleet.servers {
            assert_eq!(server.metric("raidhall_bus_reconnects_total").await, 0.0);
            assert_eq!(server.metric("raidhall_session_reloads_total").await, 0.0);
        }
    })
    .await;
}

#[tokio::test]
async fn messages_that_overtake_each_other_are_put_in_order_from_the_store() {
    bounded(async {
        let fleet = measured(2).await;
        let party = fleet.at_play(4, &long_raid(4)).await;
        let raid = party.raid;
        let edge = 1 - fleet.owner_of(&party.players[0].rest(), raid).await;
        fleet.buses[edge].censor(with_messages_swapped(&format!("raid:{{{raid}}}:events")));
        let game = party.play();
        game.goes_on(100).await;
        let gaps = fleet.servers[edge]
            .metric("raidhall_gaps_repaired_total{cause=\"gap\"}")
            .await;
        assert!(gaps >= 5.0, "{gaps} gaps were seen and repaired");
        fleet.buses[edge].censor_no_more();
        game.judged().await;
    })
    .await;
}
