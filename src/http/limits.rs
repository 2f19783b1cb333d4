//! What is limited, by whom it is counted, and how much there is of it.

use super::Options;
use crate::address::ClientAddress;
use crate::rate::{Exceeded, Limiter};
use raidhall_protocol::PlayerId;
use std::net::IpAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// How many players' wrong guesses one address may make. Players are free where guests are welcome, so the address is
/// what stops guessing; several players of one household or class may still mistype at once.
const GUESSERS_PER_ADDRESS: u32 = 5;

pub(super) struct Limits {
    guests: Limiter<IpAddr>,
    guesses_of_player: Limiter<PlayerId>,
    guesses_from_address: Limiter<IpAddr>,
    commands: Limiter<PlayerId>,
}

impl Limits {
    pub(super) fn new(options: &Options) -> Limits {
        let guesses = options.invite_guesses_per_minute;
        Limits {
            guests: Limiter::new(options.guest_signins_per_minute, MINUTE),
            guesses_of_player: Limiter::new(guesses, MINUTE),
            guesses_from_address: Limiter::new(guesses.saturating_mul(GUESSERS_PER_ADDRESS), MINUTE),
            commands: Limiter::new(options.commands_per_second, SECOND),
        }
    }

    /// One guest signs in.
    pub(super) fn guest(&self, from: ClientAddress) -> Result<(), Exceeded> {
        self.guests.charge(&from.network())
    }

    /// One player makes or changes a raid.
    pub(super) fn command(&self, by: PlayerId) -> Result<(), Exceeded> {
        self.commands.charge(&by)
    }

    /// One invite code is tried. Charged before it is known to be wrong, so that trying many at once gains nothing, and
    /// a right one can't be told from a wrong one beyond the limit.
    pub(super) fn guess(&self, by: PlayerId, from: ClientAddress) -> Result<Guess<'_>, Exceeded> {
        let guess = Guess { limits: self, by, from: from.network() };
        self.guesses_of_player.charge(&guess.by)?;
        self.guesses_from_address
            .charge(&guess.from)
            .inspect_err(|_| self.guesses_of_player.refund(&guess.by))?;
        Ok(guess)
    }
}

/// A code that was charged as if it were wrong.
#[must_use = "a code that is right must be forgiven"]
pub(super) struct Guess<'a> {
    limits: &'a Limits,
    by: PlayerId,
    from: IpAddr,
}

impl Guess<'_> {
    /// It was not wrong after all.
    pub(super) fn forgive(self) {
        self.limits.guesses_of_player.refund(&self.by);
        self.limits.guesses_from_address.refund(&self.from);
    }
}
