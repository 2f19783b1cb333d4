//! What is limited, by whom it is counted, and how much there is of it. Shared by all instances where there is a Redis,
//! and where that is not to be had, each counts for itself.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::Duration;

use axum::http::Method;
use raidhall_protocol::PlayerId;

use super::Options;
use super::error_response::Failure;
use super::rate_limit_headers::Tally;
use crate::cluster::bus::redis::Allowances;
use crate::limits::rate::{Exceeded, Rate, Standing};
use crate::limits::rate_limiter::Limiter;
use crate::net::client_address::ClientAddress;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// How many players' wrong guesses one address may make. Players are free where guests are welcome, so the address is
/// what stops guessing; several players of one household or class may still mistype at once.
const GUESSERS_PER_ADDRESS: u32 = 5;
/// How many players' requests one address may make.
const PLAYERS_PER_ADDRESS: u32 = 10;
/// How many sign-ins are renewed for each that is made: they last for weeks, access tokens for minutes.
const REFRESHES_PER_SIGN_IN: u32 = 10;

/// By whom it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Player(PlayerId),
    Address(IpAddr),
}

impl Display for Who {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Who::Player(player) => player.fmt(f),
            Who::Address(network) => network.fmt(f),
        }
    }
}

/// One kind of thing that is limited.
struct Class {
    name: &'static str,
    rate: Rate,
    local: Limiter<Who>,
}

impl Class {
    fn new(name: &'static str, limit: u32, period: Duration) -> Class {
        let rate = Rate::new(limit, period);
        Class {
            name,
            rate,
            local: Limiter::of(rate),
        }
    }

    fn key(&self, who: Who) -> String {
        format!("ratelimit:{{{who}}}:{}", self.name)
    }
}

pub(super) struct Limits {
    shared: Option<Allowances>,
    reads: Class,
    reads_from: Class,
    writes: Class,
    writes_from: Class,
    commands: Class,
    guests: Class,
    refreshes: Class,
    guesses: Class,
    guesses_from: Class,
}

impl Limits {
    pub(super) fn new(options: &Options) -> Limits {
        let (reads, writes) = (
            options.rest_reads_per_minute,
            options.rest_writes_per_minute,
        );
        let (guests, guesses) = (
            options.guest_signins_per_minute,
            options.invite_guesses_per_minute,
        );
        let minute =
            |name, limit: u32, times| Class::new(name, limit.saturating_mul(times), MINUTE);
        Limits {
            shared: options.shared_limits.clone(),
            reads: minute("read", reads, 1),
            reads_from: minute("read", reads, PLAYERS_PER_ADDRESS),
            writes: minute("write", writes, 1),
            writes_from: minute("write", writes, PLAYERS_PER_ADDRESS),
            commands: Class::new("command", options.commands_per_second, SECOND),
            guests: minute("signin", guests, 1),
            refreshes: minute("refresh", guests, REFRESHES_PER_SIGN_IN),
            guesses: minute("guess", guesses, 1),
            guesses_from: minute("guess", guesses, GUESSERS_PER_ADDRESS),
        }
    }

    /// A player asks for something.
    pub(super) async fn request(
        &self,
        method: &Method,
        by: PlayerId,
        from: ClientAddress,
        tally: &Tally,
    ) -> Result<(), Failure> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let (own, of_address) = if reads {
            (&self.reads, &self.reads_from)
        } else {
            (&self.writes, &self.writes_from)
        };
        self.both((own, by), (of_address, from), tally).await
    }

    /// One player makes or changes a raid.
    pub(super) async fn command(&self, by: PlayerId, tally: &Tally) -> Result<(), Failure> {
        self.one(&self.commands, Who::Player(by), tally).await
    }

    /// One guest signs in.
    pub(super) async fn guest(&self, from: ClientAddress, tally: &Tally) -> Result<(), Failure> {
        self.one(&self.guests, Who::Address(from.network()), tally)
            .await
    }

    /// A sign-in is renewed.
    pub(super) async fn refresh(&self, from: ClientAddress, tally: &Tally) -> Result<(), Failure> {
        self.one(&self.refreshes, Who::Address(from.network()), tally)
            .await
    }

    /// One invite code is tried. Charged before it is known to be wrong, so that trying many at once gains nothing, and
    /// a right one can't be told from a wrong one beyond the limit.
    pub(super) async fn guess(
        &self,
        by: PlayerId,
        from: ClientAddress,
        tally: &Tally,
    ) -> Result<Guess<'_>, Failure> {
        self.both((&self.guesses, by), (&self.guesses_from, from), tally)
            .await?;
        Ok(Guess {
            limits: self,
            by: Who::Player(by),
            from: Who::Address(from.network()),
        })
    }

    async fn one(&self, class: &Class, who: Who, tally: &Tally) -> Result<(), Failure> {
        tally.note(self.charge(class, who).await?);
        Ok(())
    }

    /// Charges the player and the address, or neither.
    async fn both(
        &self,
        (own, by): (&Class, PlayerId),
        (of_address, from): (&Class, ClientAddress),
        tally: &Tally,
    ) -> Result<(), Failure> {
        let (by, from) = (Who::Player(by), Who::Address(from.network()));
        match tokio::join!(self.charge(own, by), self.charge(of_address, from)) {
            (Ok(first), Ok(second)) => {
                tally.note(first);
                tally.note(second);
                Ok(())
            }
            (Ok(_), Err(exceeded)) => {
                self.refund(own, by).await;
                Err(exceeded.into())
            }
            (Err(exceeded), Ok(_)) => {
                self.refund(of_address, from).await;
                Err(exceeded.into())
            }
            (Err(one), Err(other)) => Err(if one.retry_after >= other.retry_after {
                one
            } else {
                other
            }
            .into()),
        }
    }

    async fn charge(&self, class: &Class, who: Who) -> Result<Standing, Exceeded> {
        if let Some(shared) = &self.shared
            && let Some(answer) = shared.charge(&class.key(who), class.rate).await
        {
            return answer;
        }
        class.local.charge(&who)
    }

    async fn refund(&self, class: &Class, who: Who) {
        if let Some(shared) = &self.shared {
            shared.refund(&class.key(who), class.rate).await;
        }
        class.local.refund(&who);
    }
}

/// A code that was charged as if it were wrong.
#[must_use = "a code that is right must be forgiven"]
pub(super) struct Guess<'a> {
    limits: &'a Limits,
    by: Who,
    from: Who,
}

impl Guess<'_> {
    /// It was not wrong after all.
    pub(super) async fn forgive(self) {
        let Guess { limits, by, from } = self;
        tokio::join!(
            limits.refund(&limits.guesses, by),
            limits.refund(&limits.guesses_from, from)
        );
    }
}
