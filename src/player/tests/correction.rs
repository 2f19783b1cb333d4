//! Corrections of balances by operators.

use raidhall_protocol::player::event::{CorrectedField, CorrectionSource};

use super::*;

fn correct(fold: &mut PlayerFold, field: &str, amount: i64) -> Result<usize, Error> {
    let command =
        json!({"type": "correct", "field": field, "amount": amount, "note": " Counted twice "});
    execute_by(fold, Author::Operator, NOW, command)
}

/// Returns a stream with 250 XP and 45 coins: 25 for the XP and 20 for level 2.
fn earned() -> PlayerFold {
    let mut fold = new_fold();
    let grant = json!({"type": "grant_xp", "amount": 250, "kind": "other", "note": "A course"});
    execute_by(&mut fold, Author::Service, NOW, grant).expect("a grant");
    fold
}

/// Returns XP, XP in the level, XP to the next one, level and coins.
fn progress(fold: &PlayerFold) -> [u64; 5] {
    let state = &fold.state;
    [
        state.xp,
        state.level_xp,
        state.next_level_xp,
        state.level,
        state.coins,
    ]
}

#[test]
fn a_correction_says_what_it_changed_and_why() {
    let mut fold = earned();
    let command = command(json!({
        "type": "correct", "field": "coins", "amount": 7, "note": " Lost in a raid ",
    }));
    let command = check(Author::Operator, &command).expect("valid");
    let coins = fold.state.coins;
    let decided = decide(&fold, &command, &Definitions::built_in(), NOW).expect("decided");
    let corrected = PlayerEventData::Corrected {
        field: CorrectedField::Coins,
        from: coins,
        to: coins + 7,
        by: CorrectionSource::Operator,
        note: "Lost in a raid".to_owned(),
    };
    assert_eq!(decided, [corrected]);
    assert_eq!(correct(&mut fold, "coins", 7), Ok(1));
    assert_eq!(fold.state.coins, coins + 7);
}

#[test]
fn a_correction_of_xp_corrects_the_level_but_never_lowers_it() {
    let mut fold = earned();
    let coins = fold.state.coins;
    assert_eq!(progress(&fold), [250, 150, 200, 2, coins]);
    // XP, and XP in the level.
    assert_eq!(correct(&mut fold, "xp", -50), Ok(2));
    assert_eq!(progress(&fold), [200, 100, 200, 2, coins]);
    // Below the beginning of level 2.
    assert_eq!(correct(&mut fold, "xp", -150), Ok(2));
    assert_eq!(progress(&fold), [50, 0, 200, 2, coins]);
    assert_eq!(fold.state.earned_xp, 250, "it was earned");
}

#[test]
fn a_correction_of_xp_reaches_levels_as_earned_xp_does() {
    let mut fold = earned();
    let coins = fold.state.coins;
    // XP, XP in the level, XP to the next one, and levels 3 and 4.
    assert_eq!(correct(&mut fold, "xp", 400), Ok(5));
    assert_eq!(progress(&fold), [650, 50, 400, 4, coins + 40]);
}

#[test]
fn a_correction_takes_no_more_than_there_is() {
    let mut fold = earned();
    assert_eq!(faulty_fields(correct(&mut fold, "xp", -251)), ["amount"]);
    let coins = fold.state.coins.cast_signed();
    assert_eq!(
        correct(&mut fold, "coins", -coins - 1),
        Err(Error::NotEnoughCoins)
    );
    assert_eq!(correct(&mut fold, "coins", -coins), Ok(1));
    assert_eq!(fold.state.coins, 0);
}

#[test]
fn a_correction_names_every_faulty_field() {
    let mut fold = earned();
    for amount in [0, 1_000_000_001, -1_000_000_001] {
        let command = json!({"type": "correct", "field": "xp", "amount": amount, "note": " "});
        let refused = execute_by(&mut fold, Author::Operator, NOW, command);
        assert_eq!(faulty_fields(refused), ["amount", "note"]);
    }
}
