//! What players buy and wear, and what the host app's backend grants.

use raidhall_protocol::player::state::SkillProgress;

use super::*;

fn buy(item: &str) -> Value {
    json!({"type": "buy", "item": item})
}

fn equip(item: &str) -> Value {
    json!({"type": "equip", "item": item})
}

fn grant(fold: &mut PlayerFold, value: Value) -> Result<usize, Error> {
    execute_by(fold, Author::Service, NOW, value)
}

fn grant_coins(fold: &mut PlayerFold, amount: i64) -> Result<usize, Error> {
    let command = json!({"type": "grant_coins", "amount": amount, "note": "goodwill"});
    grant(fold, command)
}

#[test]
fn an_item_is_bought_once_for_its_price() {
    let mut fold = new_fold();
    assert_eq!(
        execute(&mut fold, buy("frame_bronze")),
        Err(Error::NotEnoughCoins)
    );
    grant_coins(&mut fold, 150).expect("coins");
    execute(&mut fold, buy("frame_bronze")).expect("a purchase");
    assert_eq!(fold.state.items, ["frame_bronze"]);
    assert_eq!(
        execute(&mut fold, buy("frame_bronze")),
        Err(Error::WrongStatus("The player has this item already"))
    );
    assert_eq!(
        execute(&mut fold, buy("frame_wood")),
        Err(Error::NotFound("There is no such item"))
    );
}

/// 150 coins less the price of 100, and 5 for each of the first tiers of "shopper" and "wardrobe".
#[test]
fn a_purchase_moves_coins_and_then_grants_the_item() {
    let mut fold = new_fold();
    grant_coins(&mut fold, 150).expect("coins");
    let command = command(buy("frame_bronze"));
    let decided = decide(&fold, &command, &Definitions::built_in(), NOW).expect("a purchase");
    let kinds: Vec<_> = decided.iter().map(PlayerEventData::kind).collect();
    assert_eq!(
        kinds,
        [
            "coins_moved",
            "item_granted",
            "achievement_unlocked",
            "coins_moved",
            "achievement_unlocked",
            "coins_moved",
        ]
    );
    execute(&mut fold, buy("frame_bronze")).expect("a purchase");
    assert_eq!(fold.state.coins, 60);
}

#[test]
fn only_an_item_that_the_player_has_is_worn() {
    let mut fold = new_fold();
    assert_eq!(
        execute(&mut fold, equip("frame_gold")),
        Err(Error::NotFound("The player does not have this item"))
    );
    assert_eq!(
        execute(&mut fold, equip("frame_wood")),
        Err(Error::NotFound("There is no such item"))
    );
    for item in ["frame_gold", "frame_silver", "title_night_owl"] {
        let command = json!({"type": "grant_item", "item": item});
        grant(&mut fold, command).expect("a grant");
        assert_eq!(execute(&mut fold, equip(item)), Ok(1));
        assert_eq!(execute(&mut fold, equip(item)), Ok(0), "it is worn already");
    }
    let worn = fold.state.equipped.iter();
    let worn: Vec<_> = worn.map(|(slot, item)| format!("{slot}: {item}")).collect();
    assert_eq!(worn, ["frame: frame_silver", "title: title_night_owl"]);
}

#[test]
fn granted_xp_counts_in_full_and_is_no_task() {
    let mut fold = new_fold();
    let command = json!({"type": "grant_xp", "amount": 250, "kind": "study", "note": " A course "});
    grant(&mut fold, command).expect("a grant");
    let state = &fold.state;
    assert_eq!((state.xp, state.earned_xp, state.tasks), (250, 250, 0));
    assert_eq!((state.level, state.level_xp), (2, 150));
    let wisdom = SkillProgress {
        skill: "wisdom".to_owned(),
        xp: 250,
        level: 2,
    };
    assert_eq!(state.skills, [wisdom]);
}

#[test]
fn coins_are_granted_and_taken_but_never_below_zero() {
    let mut fold = new_fold();
    assert_eq!(grant_coins(&mut fold, 30), Ok(1));
    assert_eq!(grant_coins(&mut fold, -31), Err(Error::NotEnoughCoins));
    assert_eq!(grant_coins(&mut fold, -30), Ok(1));
    assert_eq!(fold.state.coins, 0);
}

#[test]
fn an_item_is_granted_once() {
    let mut fold = new_fold();
    let command = json!({"type": "grant_item", "item": "frame_gold"});
    assert!(grant(&mut fold, command.clone()).is_ok_and(|events| events > 0));
    assert_eq!(grant(&mut fold, command), Ok(0));
    let unknown = json!({"type": "grant_item", "item": "frame_wood"});
    assert_eq!(faulty_fields(grant(&mut fold, unknown)), ["item"]);
}

#[test]
fn grants_name_every_faulty_field() {
    let mut fold = new_fold();
    let xp = json!({"type": "grant_xp", "amount": 0, "kind": "A kind", "note": "a\u{0}"});
    assert_eq!(
        faulty_fields(grant(&mut fold, xp)),
        ["amount", "kind", "note"]
    );
    for amount in [0, 1_000_001, -1_000_001] {
        let coins = json!({"type": "grant_coins", "amount": amount, "note": " "});
        let faults = faulty_fields(grant(&mut fold, coins));
        assert!(faults.contains(&"amount".to_owned()), "{faults:?}");
        assert!(faults.contains(&"note".to_owned()), "{faults:?}");
    }
}

#[test]
fn an_id_that_no_item_can_have_is_not_valid() {
    let mut fold = new_fold();
    let long = "a".repeat(65);
    for item in ["", long.as_str()] {
        for command in [buy(item), equip(item)] {
            assert_eq!(faulty_fields(execute(&mut fold, command)), ["item"]);
        }
        let granted = json!({"type": "grant_item", "item": item});
        assert_eq!(faulty_fields(grant(&mut fold, granted)), ["item"]);
    }
}

#[test]
fn players_buy_and_the_service_grants() {
    let mut fold = new_fold();
    for command in [buy("frame_gold"), equip("frame_gold")] {
        let refused = Err(Error::Forbidden("Only the player may do this"));
        assert_eq!(grant(&mut fold, command), refused);
    }
    let grants = [
        json!({"type": "grant_xp", "amount": 5, "kind": "study", "note": "A course"}),
        json!({"type": "grant_coins", "amount": 5, "note": "goodwill"}),
        json!({"type": "grant_item", "item": "frame_gold"}),
    ];
    for command in grants {
        let refused = Err(Error::Forbidden("Only the host app's backend may do this"));
        assert_eq!(execute(&mut fold, command), refused);
    }
}
