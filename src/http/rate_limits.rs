//! The rate limits of the REST API, each charged to a player, a client address or both. All
//! instances charge them together in Redis; without Redis, or while it fails, each instance counts
//! separately.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use raidhall_protocol::PlayerId;

use super::Options;
use super::error_response::ErrorResponse;
use super::rate_limit_headers::RateLimitHeaders;
use crate::auth::{Identity, Scope};
use crate::cluster::bus::redis::{SharedLimits, shared_key};
use crate::limits::command_limiter::CommandLimiter;
use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};
use crate::limits::rate_limiter::RateLimiter;
use crate::net::client_address::ClientAddress;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows of a page that are charged as one read.
const ROWS_PER_CHARGE: u32 = 50;
/// How many times a player's wrong guesses one address may make. Guest accounts cost nothing, so
/// the limit per address is what stops guessing; several players of one household or class can
/// still mistype at the same time.
const GUESSERS_PER_ADDRESS: u32 = 5;
/// How many times a player's requests one address may make.
const PLAYERS_PER_ADDRESS: u32 = 10;
/// Token refreshes allowed per guest sign-in: a sign-in lasts for weeks, an access token for
/// minutes.
const REFRESHES_PER_SIGN_IN: u32 = 10;

/// The player or the client address that a limit is charged to.
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

/// A class of requests with its rate, counted per subject.
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
}

/// The rate limits of the REST API.
pub struct RateLimits {
    shared: Option<SharedLimits>,
    lineage: String,
    reads: RateLimitClass,
    reads_per_address: RateLimitClass,
    writes: RateLimitClass,
    writes_per_address: RateLimitClass,
    commands: Arc<CommandLimiter>,
    exports: RateLimitClass,
    sign_ins: RateLimitClass,
    refreshes: RateLimitClass,
    guesses: RateLimitClass,
    guesses_per_address: RateLimitClass,
}

impl RateLimits {
    /// Creates the limits of the cluster whose database has this lineage. They are charged in
    /// `shared`, if there is one, and locally while it fails. Sockets charge `commands` too.
    pub fn new(
        options: &Options,
        commands: Arc<CommandLimiter>,
        shared: Option<SharedLimits>,
        lineage: &str,
    ) -> RateLimits {
        let reads = options.rest_reads_per_minute;
        let writes = options.rest_writes_per_minute;
        let guests = options.guest_signins_per_minute;
        let guesses = options.invite_guesses_per_minute;
        let minute = |name, limit: NonZeroU32, times| {
            RateLimitClass::new(name, limit.get().saturating_mul(times), MINUTE)
        };
        RateLimits {
            shared,
            lineage: lineage.to_owned(),
            reads: minute("read", reads, 1),
            reads_per_address: minute("read", reads, PLAYERS_PER_ADDRESS),
            writes: minute("write", writes, 1),
            writes_per_address: minute("write", writes, PLAYERS_PER_ADDRESS),
            commands,
            exports: RateLimitClass::new("export", options.exports_per_day.get(), DAY),
            sign_ins: minute("signin", guests, 1),
            refreshes: minute("refresh", guests, REFRESHES_PER_SIGN_IN),
            guesses: minute("guess", guesses, 1),
            guesses_per_address: minute("guess", guesses, GUESSERS_PER_ADDRESS),
        }
    }

    /// Charges a player's request to the player and to the client address.
    pub(super) async fn charge_request(
        &self,
        method: &Method,
        by: PlayerId,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let (per_player, per_address) = if reads {
            (&self.reads, &self.reads_per_address)
        } else {
            (&self.writes, &self.writes_per_address)
        };
        self.charge_player_and_address((per_player, by), (per_address, from), limit_headers)
            .await
    }

    /// Charges a read without sign-in to the client address.
    pub(super) async fn charge_visitor(
        &self,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        self.charge_subject(
            &self.reads_per_address,
            RateLimitSubject::Address(from.network()),
            limit_headers,
        )
        .await
    }

    /// Charges a player's request for a page of at most `limit` rows. The request itself has been
    /// charged already, with the first rows.
    pub(super) async fn charge_rows(
        &self,
        caller: &Identity,
        from: ClientAddress,
        limit: u32,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        if let (Scope::Player, Some(player)) = (caller.scope, &caller.player) {
            for _ in 1..limit.div_ceil(ROWS_PER_CHARGE) {
                self.charge_request(&Method::GET, player.id, from, limit_headers)
                    .await?;
            }
        }
        Ok(())
    }

    /// Charges an export of the player's own data.
    pub(super) async fn charge_export(
        &self,
        by: PlayerId,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        self.charge_subject(&self.exports, RateLimitSubject::Player(by), limit_headers)
            .await
    }

    /// Charges a command, or the creation of a raid, to the player.
    pub(super) fn charge_command(
        &self,
        by: PlayerId,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        limit_headers.record(self.commands.charge(by)?);
        Ok(())
    }

    /// Charges a sign-in as a guest or by Telegram, or a link of an identity, to the client
    /// address.
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

    /// Charges a token refresh to the client address.
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

    /// Charges an invite code as if it were wrong. This happens before the code is looked up, so
    /// that trying many at once gains nothing, and beyond the limit a right code looks like a wrong
    /// one. Without a player, only the address is charged. Refund the charge if the code is right.
    pub(super) async fn charge_guess(
        &self,
        by: Option<PlayerId>,
        from: ClientAddress,
        limit_headers: &RateLimitHeaders,
    ) -> Result<GuessCharge<'_>, ErrorResponse> {
        let address = RateLimitSubject::Address(from.network());
        let per_address = &self.guesses_per_address;
        match by {
            Some(by) => {
                let per_player = (&self.guesses, by);
                self.charge_player_and_address(per_player, (per_address, from), limit_headers)
                    .await?;
            }
            None => {
                self.charge_subject(per_address, address, limit_headers)
                    .await?;
            }
        }
        Ok(GuessCharge {
            limits: self,
            player: by.map(RateLimitSubject::Player),
            address,
        })
    }

    async fn charge_subject(
        &self,
        class: &RateLimitClass,
        subject: RateLimitSubject,
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        limit_headers.record(self.charge(class, subject).await?);
        Ok(())
    }

    /// Charges both the player and the address, or neither.
    async fn charge_player_and_address(
        &self,
        (per_player, by): (&RateLimitClass, PlayerId),
        (per_address, from): (&RateLimitClass, ClientAddress),
        limit_headers: &RateLimitHeaders,
    ) -> Result<(), ErrorResponse> {
        let player = RateLimitSubject::Player(by);
        let address = RateLimitSubject::Address(from.network());
        match tokio::join!(
            self.charge(per_player, player),
            self.charge(per_address, address)
        ) {
            (Ok(first), Ok(second)) => {
                limit_headers.record(first);
                limit_headers.record(second);
                Ok(())
            }
            (Ok(_), Err(exceeded)) => {
                self.refund(per_player, player).await;
                Err(exceeded.into())
            }
            (Err(exceeded), Ok(_)) => {
                self.refund(per_address, address).await;
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
        subject: RateLimitSubject,
    ) -> Result<QuotaStatus, RateLimitExceeded> {
        if let Some(shared) = &self.shared
            && let Some(answer) = shared
                .charge(&shared_key(&self.lineage, subject, class.name), class.rate)
                .await
        {
            return answer;
        }
        class.local_limiter.charge(&subject)
    }

    async fn refund(&self, class: &RateLimitClass, subject: RateLimitSubject) {
        if let Some(shared) = &self.shared {
            shared
                .refund(&shared_key(&self.lineage, subject, class.name), class.rate)
                .await;
        }
        class.local_limiter.refund(&subject);
    }
}

/// The charge for an invite code, made as if the code were wrong.
#[must_use = "the charge for a right code must be refunded"]
pub(super) struct GuessCharge<'a> {
    limits: &'a RateLimits,
    player: Option<RateLimitSubject>,
    address: RateLimitSubject,
}

impl GuessCharge<'_> {
    /// Refunds what was charged, because the code was right.
    pub(super) async fn refund(self) {
        let GuessCharge {
            limits,
            player,
            address,
        } = self;
        let refund_player = async {
            if let Some(player) = player {
                limits.refund(&limits.guesses, player).await;
            }
        };
        tokio::join!(
            refund_player,
            limits.refund(&limits.guesses_per_address, address)
        );
    }
}
