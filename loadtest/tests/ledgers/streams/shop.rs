//! Violations of the shop: purchases, items and what is worn.

use raidhall_loadtest::client_log::Observation;
use raidhall_loadtest::judge::{Grant, StreamViolationKind};
use raidhall_protocol::player::event::{CoinsReason, ItemSource};
use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::{PlayerCommand, PlayerEventData, PlayerRequest};
use raidhall_protocol::{ErrorBody, ErrorType, Seq, ServerMessage};

use super::forged_stream::assert_kinds;
use super::sample_stream::*;
use crate::sample_case::{op, player, received};

const ITEM: &str = "frame_bronze";

fn item_granted(by: ItemSource) -> PlayerEventData {
    PlayerEventData::ItemGranted {
        item: ITEM.to_owned(),
        by,
        counters: Vec::new(),
    }
}

fn equipped() -> PlayerEventData {
    PlayerEventData::ItemEquipped {
        slot: "frame".to_owned(),
        item: ITEM.to_owned(),
    }
}

/// Lets Ben buy the item from the phone for 100 coins, which is acknowledged at a seq.
fn buy(case: &mut StreamSample, events: Vec<PlayerEventData>, acked: u64) {
    case.append(events);
    let item = ITEM.to_owned();
    send(case, 2, PlayerCommand::Buy { item }, ack(2, acked));
}

fn send(case: &mut StreamSample, id: u64, cmd: PlayerCommand, answer: Observation) {
    let request = sent(PlayerRequest::Do {
        id,
        player: Me::Me,
        op: op(&format!("shop-{id}")),
        cmd,
    });
    let end = case.phone.len() - 1;
    case.phone.splice(end..end, [request, answer]);
}

fn price() -> PlayerEventData {
    coins_moved(-100, CoinsReason::Purchase, 58)
}

fn purchase() -> Vec<PlayerEventData> {
    vec![price(), item_granted(ItemSource::Purchase)]
}

fn equip(case: &mut StreamSample, id: u64, acked: u64) {
    let item = ITEM.to_owned();
    send(case, id, PlayerCommand::Equip { item }, ack(id, acked));
}

#[test]
fn purchases_and_items_of_a_correct_server_are_no_violations() {
    assert_kinds(|case| buy(case, purchase(), END + 2), &[]);
    let bought_and_worn = |case: &mut StreamSample| {
        let mut events = purchase();
        events.push(equipped());
        buy(case, events, END + 2);
        equip(case, 3, END + 3);
        equip(case, 4, END + 3); // worn already: no event
    };
    assert_kinds(bought_and_worn, &[]);
    let granted_again = |case: &mut StreamSample| {
        case.append(vec![item_granted(ItemSource::Grant)]);
        let command = PlayerCommand::GrantItem {
            item: ITEM.to_owned(),
        };
        for seq in [END + 1, END] {
            let ack = Some(Seq(seq));
            let command = command.clone();
            case.grants.push(Grant { command, ack });
        }
    };
    assert_kinds(granted_again, &[]);
}

#[test]
fn a_purchase_whose_ack_is_not_at_its_last_event_is_a_violation() {
    let not_last = StreamViolationKind::AckWithoutEvent {
        seq: Seq(END + 1),
        effect: "purchase of frame_bronze".to_owned(),
        found: "coins_moved".to_owned(),
    };
    let forge = |case: &mut StreamSample| {
        buy(case, purchase(), END + 2);
        let answer = case.phone.len() - 2;
        case.phone[answer] = ack(2, END + 1);
    };
    assert_kinds(forge, &[not_last]);
}

#[test]
fn an_item_without_its_price_or_a_price_without_its_item_is_a_violation() {
    let missing = StreamViolationKind::FollowUpMissing {
        seq: Seq(END + 1),
        expected: "Item".to_owned(),
    };
    assert_kinds(|case| case.append(vec![price()]), &[missing]);
    let unexpected = StreamViolationKind::FollowUpUnexpected {
        seq: Seq(END + 1),
        kind: "item_granted",
    };
    let item_only = vec![item_granted(ItemSource::Purchase)];
    let found = find(|case| buy(case, item_only, END + 1));
    assert_eq!(found, [("server".to_owned(), unexpected)]);
}

#[test]
fn a_purchase_of_more_than_the_player_has_is_a_violation() {
    let overdraft = vec![
        coins_moved(-200, CoinsReason::Purchase, 0),
        item_granted(ItemSource::Purchase),
    ];
    let found = find(|case| buy(case, overdraft, END + 2));
    assert!(
        matches!(&found[..], [(_, StreamViolationKind::EffectWrong { seq: Seq(seq), .. })]
            if *seq == END + 1),
        "{found:?}"
    );
}

#[test]
fn a_refused_purchase_that_took_effect_is_a_violation() {
    let double = StreamViolationKind::DoubleCommand {
        effect: "purchase of frame_bronze".to_owned(),
        found: 1,
        allowed: 0,
    };
    let forge = |case: &mut StreamSample| {
        case.append(purchase());
        let refusal = received(ServerMessage::Error {
            re: "do".to_owned(),
            id: Some(2),
            raid: None,
            player: Some(player(6)),
            error: ErrorBody::new(ErrorType::NotEnoughCoins, "no"),
        });
        let item = ITEM.to_owned();
        send(case, 2, PlayerCommand::Buy { item }, refusal);
    };
    assert_kinds(forge, &[double]);
}

#[test]
fn an_item_that_comes_twice_or_is_worn_without_having_it_is_a_violation() {
    let twice = StreamViolationKind::ItemTwice {
        seq: Seq(END + 3),
        item: ITEM.to_owned(),
    };
    let forge = |case: &mut StreamSample| {
        let mut events = purchase();
        events.push(item_granted(ItemSource::Grant));
        buy(case, events, END + 2);
        let command = PlayerCommand::GrantItem {
            item: ITEM.to_owned(),
        };
        let ack = Some(Seq(END + 3));
        case.grants.push(Grant { command, ack });
    };
    assert_kinds(forge, &[twice]);
    let not_had = StreamViolationKind::ItemNotHad {
        seq: Seq(END + 1),
        item: ITEM.to_owned(),
    };
    let forge = |case: &mut StreamSample| {
        case.append(vec![equipped()]);
        equip(case, 2, END + 1);
    };
    assert_kinds(forge, &[not_had]);
}
