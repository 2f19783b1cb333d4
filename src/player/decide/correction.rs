//! Corrections of a player's balances by operators.

use raidhall_protocol::limits::{CORRECTION_AMOUNT, NOTE_CHARS_MAX};
use raidhall_protocol::player::event::{Balance, CorrectionSource};
use raidhall_protocol::player::{PlayerCommand, PlayerEventData};

use crate::error::Error;
use crate::player::PlayerFold;
use crate::player::rewards::Happening;
use crate::raid::Values;

pub(super) fn check(field: Balance, amount: i64, note: &str) -> Result<PlayerCommand, Error> {
    let mut values = Values::default();
    let amount = values.change("amount", amount, CORRECTION_AMOUNT);
    let note = values.text("note", note, NOTE_CHARS_MAX);
    values.finish()?;
    Ok(PlayerCommand::Correct {
        field,
        amount,
        note,
    })
}

pub(super) fn correct(
    fold: &PlayerFold,
    field: Balance,
    amount: i64,
    note: &str,
) -> Result<Vec<Happening>, Error> {
    let from = fold.state.number(field.field());
    let to = from.checked_add_signed(amount);
    let mut values = Values::default();
    if to.is_none() && field == Balance::Xp {
        values.fault("amount", format!("must not be below -{from}, which is all"));
    }
    values.finish()?;
    let to = to.ok_or(Error::NotEnoughCoins)?;
    Ok(vec![Happening::Other(PlayerEventData::Corrected {
        field: field.field(),
        from,
        to,
        by: CorrectionSource::Operator,
        note: note.to_owned(),
    })])
}
