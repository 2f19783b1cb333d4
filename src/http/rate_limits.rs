//! The rate limits of the REST API: what is charged to a player, to a client address or to both, and how much they may
//! use. All instances charge them together in Redis; without Redis, or while it fails, each instance counts for itself.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::Method;
use raidhall_protocol::PlayerId;

use super::Options;
use super::error_response::ErrorResponse;
use super::rate_limit_headers::RateLimitHeaders;
use crate::cluster::bus::redis::SharedLimits;
use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};
use crate::limits::rate_limiter::RateLimiter;
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

/// The player or the network whose requests a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RateLimitSubject {
    Player(PlayerId),
    Address(IpAddr),
}

impl Display for RateLimitSubject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            RateLimitSubject::Player(player) => player.fmt(f),
            RateLimitSubject::Address(network) => network.fmt(f),
        }
    }
}

/// One kind of thing that is limited.
struct RateLimitClass {
    name: &'static str,
    rate: Rate,
    local_limiter: RateLimiter<RateLimitSubject>,
}

impl RateLimitClass {
    fn new(name: &'static str, limit: u32, period: Duration) -> RateLimitClass {
        let rate = Rate::new(limit, period);
        RateLimitClass {
            name,
            rate,
            local_limiter: RateLimiter::from_rate(rate),
        }
    }

    fn shared_key(&self, who: RateLimitSubject) -> String {
        format!("ratelimit:{{{who}}}:{}", self.name)
    }
}

/// The rate limits of the REST API.
pub struct RateLimits {
    shared: Option<SharedLimits>,
    reads: RateLimitClass,
    reads_per_address: RateLimitClass,
    writes: RateLimitClass,
    writes_per_address: RateLimitClass,
    commands: RateLimitClass,
    sign_ins: RateLimitClass,
    refreshes: RateLimitClass,
    guesses: RateLimitClass,
    guesses_per_address: RateLimitClass,
}

impl RateLimits {
    /// Limits that all instances charge together in `shared`, if there is one and as long as it answers.
    pub fn new(options: &Options, shared: Option<SharedLimits>) -> RateLimits {
        let reads = options.rest_reads_per_minute;
        let writes = options.rest_writes_per_minute;
        let guests = options.guest_signins_per_minute;
        let guesses = options.invite_guesses_per_minute;
        let minute = |name, limit: NonZeroU32, times| {
            RateLimitClass::new(name, limit.get().saturating_mul(times), MINUTE)
        };
        RateLimits {
            shared,
            reads: minute("read", reads, 1),
            reads_per_address: minute("read", reads, PLAYERS_PER_ADDRESS),
            writes: minute("write", writes, 1),
            writes_per_address: minute("write", writes, PLAYERS_PER_ADDRESS),
            commands: RateLimitClass::new("command", options.commands_per_second.get(), SECOND),
            sign_ins: minute("signin", guests, 1),
            refreshes: minute("refresh", guests, REFRESHES_PER_SIGN_IN),
            guesses: minute("guess", guesses, 1),
            guesses_per_address: minute("guess", guesses, GUESSERS_PER_ADDRESS),
        }
    }

    /// A player asks for something.
    pub(super) async fn charge_request(
        &self,
        method: &Method,
        by: PlayerId,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let (own, of_address) = if reads {
            (&self.reads, &self.reads_per_address)
        } else {
            (&self.writes, &self.writes_per_address)
        };
        self.charge_player_and_address((own, by), (of_address, from), limit_headers)
            .await
    }

    /// One player makes or changes a raid.
    pub(super) async fn charge_command(
        &self,
        by: PlayerId,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        self.charge_subject(&self.commands, RateLimitSubject::Player(by), limit_headers)
            .await
    }

    /// One guest signs in.
    pub(super) async fn charge_sign_in(
        &self,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        self.charge_subject(
            &self.sign_ins,
            RateLimitSubject::Address(from.network()),
            limit_headers,
        )
        .await
    }

    /// A sign-in is renewed.
    pub(super) async fn charge_refresh(
        &self,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        self.charge_subject(
            &self.refreshes,
            RateLimitSubject::Address(from.network()),
            limit_headers,
        )
        .await
    }

    /// One invite code is tried. Charged before it is known to be wrong, so that trying many at once gains nothing, and
    /// a right one can't be told from a wrong one beyond the limit.
    pub(super) async fn charge_guess(
        &self,
        by: PlayerId,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<GuessCharge<'_>, ErrorResponse> {
        self.charge_player_and_address(
            (&self.guesses, by),
            (&self.guesses_per_address, from),
            limit_headers,
        )
        .await?;
        Ok(GuessCharge {
            limits: self,
            player: RateLimitSubject::Player(by),
            address: RateLimitSubject::Address(from.network()),
        })
    }

    async fn charge_subject(
        &self,
        class: &RateLimitClass,
        who: RateLimitSubject,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        limit_headers.record(self.charge(class, who).await?);
        Ok(())
    }

    /// Charges the player and the address, or neither.
    async fn charge_player_and_address(
        &self,
        (own, by): (&RateLimitClass, PlayerId),
        (of_address, from): (&RateLimitClass, ClientAddress),
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        let (by, from) = (
            RateLimitSubject::Player(by),
            RateLimitSubject::Address(from.network()),
        );
        match tokio::join!(self.charge(own, by), self.charge(of_address, from)) {
            (Ok(first), Ok(second)) => {
                limit_headers.record(first);
                limit_headers.record(second);
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

    async fn charge(
        &self,
        class: &RateLimitClass,
        who: RateLimitSubject,
    ) -> Result<QuotaStatus, RateLimitExceeded> {
        if let Some(shared) = &self.shared
            && let Some(answer) = shared.charge(&class.shared_key(who), class.rate).await
        {
            return answer;
        }
        class.local_limiter.charge(&who)
    }

    async fn refund(&self, class: &RateLimitClass, who: RateLimitSubject) {
        if let Some(shared) = &self.shared {
            shared.refund(&class.shared_key(who), class.rate).await;
        }
        class.local_limiter.refund(&who);
    }
}

/// A code that was charged as if it were wrong.
#[must_use = "a code that is right must be forgiven"]
pub(super) struct GuessCharge<'a> {
    limits: &'a RateLimits,
    player: RateLimitSubject,
    address: RateLimitSubject,
}

impl GuessCharge<'_> {
    /// It was not wrong after all.
    pub(super) async fn refund(self) {
        let GuessCharge {
            limits,
            player: by,
            address: from,
        } = self;
        tokio::join!(
            limits.refund(&limits.guesses, by),
            limits.refund(&limits.guesses_per_address, from)
        );
    }
}
