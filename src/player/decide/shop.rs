//! What a player buys and wears, and what the host app's backend grants.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::limits::{
    COINS_GRANTED, CONTRIBUTION_KIND_CHARS_MAX, CONTRIBUTION_XP, ITEM_CHARS_MAX, NOTE_CHARS_MAX,
};
use raidhall_protocol::player::event::{CoinsReason, ItemSource, XpSource};
use raidhall_protocol::player::{PlayerCommand, PlayerEventData};
use raidhall_protocol::progression::ShopItem;

use crate::definitions::Definitions;
use crate::error::Error;
use crate::player::PlayerFold;
use crate::player::rewards::{EarnedXp, Happening};
use crate::raid::Values;

const NO_SUCH_ITEM: Error = Error::NotFound("There is no such item");

/// Checks the length of an item's id. Whether there is such an item depends on the definitions.
pub(super) fn check_item(item: &str) -> Result<(), Error> {
    let mut values = Values::default();
    if !(1..=ITEM_CHARS_MAX).contains(&item.chars().count()) {
        values.fault("item", "must be 1 to 64 characters");
    }
    values.finish()?;
    Ok(())
}

pub(super) fn check_xp_grant(amount: i64, kind: &str, note: &str) -> Result<PlayerCommand, Error> {
    let mut values = Values::default();
    let amount = values.number("amount", amount, CONTRIBUTION_XP);
    let kind = values.word("kind", kind, 1..=CONTRIBUTION_KIND_CHARS_MAX);
    let note = values.text("note", note, NOTE_CHARS_MAX);
    values.finish()?;
    Ok(PlayerCommand::GrantXp { amount, kind, note })
}

pub(super) fn check_coins_grant(amount: i64, note: &str) -> Result<PlayerCommand, Error> {
    let mut values = Values::default();
    let amount = values.change("amount", amount, COINS_GRANTED);
    let note = values.text("note", note, NOTE_CHARS_MAX);
    values.finish()?;
    Ok(PlayerCommand::GrantCoins { amount, note })
}

pub(super) fn buy(
    fold: &PlayerFold,
    item: &str,
    definitions: &Definitions,
) -> Result<Vec<Happening>, Error> {
    let state = &fold.state;
    let ShopItem { id, price, .. } = definitions.item(item).ok_or(NO_SUCH_ITEM)?;
    if state.items.contains(id) {
        return Err(Error::WrongStatus("The player has this item already"));
    }
    if state.coins < *price {
        return Err(Error::NotEnoughCoins);
    }
    let pay = Happening::Coins {
        amount: -price.cast_signed(),
        reason: CoinsReason::Purchase,
        note: None,
    };
    let get = Happening::Item {
        item: id.clone(),
        by: ItemSource::Purchase,
    };
    Ok(vec![pay, get])
}

pub(super) fn equip(
    fold: &PlayerFold,
    item: &str,
    definitions: &Definitions,
) -> Result<Vec<Happening>, Error> {
    let state = &fold.state;
    let definition = definitions.item(item).ok_or(NO_SUCH_ITEM)?;
    if !state.items.contains(&definition.id) {
        return Err(Error::NotFound("The player does not have this item"));
    }
    if state.equipped.get(&definition.slot) == Some(&definition.id) {
        return Ok(Vec::new());
    }
    let equipped = PlayerEventData::ItemEquipped {
        slot: definition.slot.clone(),
        item: definition.id.clone(),
    };
    Ok(vec![Happening::Other(equipped)])
}

pub(super) fn grant_xp(
    amount: i64,
    kind: &str,
    note: &str,
    definitions: &Definitions,
    now: UnixMillis,
) -> Vec<Happening> {
    let amount = amount.unsigned_abs();
    vec![Happening::Xp(EarnedXp {
        amount,
        counted: amount,
        source: XpSource::Grant,
        happened_at: now,
        allowance: None,
        skill: definitions.skill_of_kind(kind).map(str::to_owned),
        note: Some(note.to_owned()),
    })]
}

pub(super) fn grant_coins(
    fold: &PlayerFold,
    amount: i64,
    note: &str,
) -> Result<Vec<Happening>, Error> {
    if fold.state.coins.checked_add_signed(amount).is_none() {
        return Err(Error::NotEnoughCoins);
    }
    Ok(vec![Happening::Coins {
        amount,
        reason: CoinsReason::Granted,
        note: Some(note.to_owned()),
    }])
}

pub(super) fn grant_item(
    fold: &PlayerFold,
    item: &str,
    definitions: &Definitions,
) -> Result<Vec<Happening>, Error> {
    let mut values = Values::default();
    if definitions.item(item).is_none() {
        values.fault("item", "must be the id of an item of the shop");
    }
    values.finish()?;
    if fold.state.items.iter().any(|owned| owned == item) {
        return Ok(Vec::new());
    }
    let item = item.to_owned();
    let by = ItemSource::Grant;
    Ok(vec![Happening::Item { item, by }])
}
