//! Tests of which callers see a profile.

use raidhall_protocol::player::event::RaidOutcome;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::state::Role;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};

use super::{DAY_MS, NOW, execute, new_fold, set};
use crate::player::{PlayerFold, ProfileViewer, is_profile_shown};

fn raid(id: u64) -> RaidId {
    RaidId::try_from(id).expect("an id")
}

fn apply(fold: &mut PlayerFold, at: UnixMillis, data: PlayerEventData) {
    fold.apply(&PlayerEvent {
        seq: fold.seq.next(),
        at,
        cause: None,
        data,
    });
}

fn join(fold: &mut PlayerFold, raid_id: u64) {
    let joined = PlayerEventData::RaidJoined {
        raid: raid(raid_id),
        role: Role::Member,
        counters: Vec::new(),
    };
    apply(fold, NOW, joined);
}

/// Ends a raid in which the player earned so much XP.
fn end(fold: &mut PlayerFold, raid_id: u64, at: UnixMillis, xp: u64) {
    let ended = PlayerEventData::RaidEnded {
        raid: raid(raid_id),
        outcome: RaidOutcome::Failed,
        rank: None,
        xp,
        happened_at: at,
        raids_played: 1,
        raids_won: 0,
        counters: Vec::new(),
    };
    apply(fold, at, ended);
}

/// Returns two players who share nothing.
fn two_players() -> [PlayerFold; 2] {
    let id = PlayerId::try_from(6_u64).expect("an id");
    [new_fold(), PlayerFold::new(id, "Ben".to_owned())]
}

/// Returns whether each of two players sees the other's profile. Both see the same.
#[track_caller]
fn see_each_other([one, other]: &[PlayerFold; 2], now: UnixMillis) -> bool {
    let seen = is_profile_shown(one, ProfileViewer::Player(other), false, now);
    let back = is_profile_shown(other, ProfileViewer::Player(one), false, now);
    assert_eq!(seen, back);
    seen
}

#[test]
fn the_setting_decides_which_relations_show_a_profile() {
    // Columns: strangers, in the same open raid, companions, both.
    let rules = [
        (None, [false, true, true, true]),
        (Some("public"), [false, true, true, true]),
        (Some("companions"), [false, false, true, true]),
        (Some("hidden"), [false; 4]),
    ];
    let relations = [(false, false), (true, false), (false, true), (true, true)];
    for (setting, expected) in rules {
        for ((is_in_raid, is_companion), is_shown) in relations.into_iter().zip(expected) {
            let [mut ada, mut ben] = two_players();
            for fold in [&mut ada, &mut ben] {
                if is_in_raid {
                    join(fold, 7);
                }
                if is_companion {
                    end(fold, 8, NOW, 10);
                }
            }
            if let Some(value) = setting {
                execute(&mut ada, set("profile", value)).expect("set");
            }
            let shown = |viewer| is_profile_shown(&ada, viewer, false, NOW);
            let relation = (setting, is_in_raid, is_companion);
            assert_eq!(shown(ProfileViewer::Player(&ben)), is_shown, "{relation:?}");
            assert!(shown(ProfileViewer::Player(&ada)), "{relation:?}");
            assert!(shown(ProfileViewer::Privileged), "{relation:?}");
        }
    }
}

#[test]
fn the_setting_of_the_viewer_does_not_matter() {
    let [mut ada, mut ben] = two_players();
    for fold in [&mut ada, &mut ben] {
        join(fold, 7);
    }
    execute(&mut ben, set("profile", "hidden")).expect("set");
    assert!(is_profile_shown(
        &ada,
        ProfileViewer::Player(&ben),
        false,
        NOW
    ));
}

#[test]
fn members_of_different_raids_are_strangers() {
    let mut players = two_players();
    join(&mut players[0], 7);
    join(&mut players[1], 8);
    end(&mut players[0], 9, NOW, 10);
    end(&mut players[1], 10, NOW, 10);
    assert!(!see_each_other(&players, NOW));
}

#[test]
fn members_of_a_raid_that_ended_are_companions_if_both_earned_xp() {
    for (xp, is_shown) in [([10, 0], false), ([0, 0], false), ([10, 1], true)] {
        let mut players = two_players();
        for (fold, xp) in players.iter_mut().zip(xp) {
            join(fold, 7);
            end(fold, 7, NOW, xp);
        }
        assert_eq!(see_each_other(&players, NOW), is_shown, "{xp:?}");
    }
}

#[test]
fn companions_are_strangers_90_days_after_their_raid() {
    let mut players = two_players();
    for fold in &mut players {
        end(fold, 7, NOW, 10);
    }
    let last = NOW.plus(90 * DAY_MS);
    assert!(see_each_other(&players, last));
    assert!(!see_each_other(&players, last.plus(1)));
    end(&mut players[0], 8, last, 10);
    assert!(see_each_other(&players, last), "it is not dropped early");
}

#[test]
fn the_latest_200_raids_make_companions() {
    let mut players = two_players();
    for fold in &mut players {
        end(fold, 7, NOW, 10);
    }
    for id in 8..=206 {
        end(&mut players[0], id, NOW, 10);
    }
    assert!(see_each_other(&players, NOW));
    end(&mut players[0], 207, NOW, 10);
    assert!(!see_each_other(&players, NOW));
}

#[test]
fn the_latest_raids_are_in_the_stored_form() {
    let mut players = two_players();
    for fold in &mut players {
        end(fold, 7, NOW, 10);
    }
    let stored = players.map(|fold| PlayerFold::decode(&fold.encode()).expect("a fold"));
    assert!(see_each_other(&stored, NOW));
}

/// The history of a raid can be projected long after the raid ended.
#[test]
fn companions_of_a_raid_that_is_projected_late_count_from_its_end() {
    let mut players = two_players();
    let ended_at = NOW.plus(-91 * DAY_MS);
    for player in &mut players {
        join(player, 7);
        let ended = PlayerEventData::RaidEnded {
            raid: raid(7),
            outcome: RaidOutcome::Failed,
            rank: None,
            xp: 40,
            happened_at: ended_at,
            raids_played: 1,
            raids_won: 0,
            counters: Vec::new(),
        };
        apply(player, NOW, ended);
    }
    let [one, other] = &players;
    assert!(one.is_companion_of(other, ended_at.plus(90 * DAY_MS)));
    assert!(!one.is_companion_of(other, NOW));
}

#[test]
fn a_profile_on_a_leaderboard_is_shown_to_strangers_unless_narrowed() {
    for (profile, expected) in [("public", true), ("companions", false), ("hidden", false)] {
        let [mut ada, ben] = two_players();
        execute(&mut ada, set("profile", profile)).expect("set");
        let shown = is_profile_shown(&ada, ProfileViewer::Player(&ben), true, NOW);
        assert_eq!(shown, expected, "{profile}");
    }
}
