//! Corrections of a player's balances and streak by operators.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::limits::{CORRECTION_AMOUNT, NOTE_CHARS_MAX};
use raidhall_protocol::player::event::{Balance, CorrectionSource};
use raidhall_protocol::player::{PlayerCommand, PlayerEventData};

use crate::definitions::Definitions;
use crate::error::Error;
use crate::player::PlayerFold;
use crate::player::rewards::Happening;
use crate::player::streak;
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
    definitions: &Definitions,
    now: UnixMillis,
) -> Result<Vec<Happening>, Error> {
    let from = fold.state.number(field.field());
    let to = from.checked_add_signed(amount);
    let mut values = Values::default();
    if to.is_none() && field == Balance::Xp {
        values.fault("amount", format!("must not be below -{from}, which is all"));
    }
    if to.unwrap_or(0) == 0 && field == Balance::Streak {
        let fault = format!("must leave the streak of {from} days at least one");
        values.fault("amount", fault);
    }
    values.finish()?;
    let to = to.ok_or(Error::NotEnoughCoins)?;
    let begun = match field {
        Balance::Streak => streak::begin_corrected(fold, to, definitions.streaks.as_ref(), now)?,
        Balance::Xp | Balance::Coins => None,
    };
    let corrected = PlayerEventData::Corrected {
        field: field.field(),
        from,
        to,
        by: CorrectionSource::Operator,
        note: note.to_owned(),
    };
    let decided = [corrected].into_iter().chain(begun);
    Ok(decided.map(Happening::Other).collect())
}
