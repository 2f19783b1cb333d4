//! Energy: what a member spends on claims and loses by failing, and gets back by the minute.
//!
//! Nothing ticks. A member has `energy` as of `energy_at`; what they have now is computed from the two.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::state::Member;

/// What everybody starts with, and the most one can have.
pub(super) const FULL: u32 = 100;
/// What a claim costs.
pub(super) const CLAIM: u32 = 10;
/// What completing a task gives back.
pub(super) const COMPLETION: u32 = 5;
/// What failing a task costs; never below 0.
pub(super) const FAILURE: u32 = 15;
/// How long it takes to regenerate 1.
const REGENERATION_MILLIS: i64 = 60_000;

/// The energy that a member has at a moment.
pub(super) fn at(member: &Member, now: UnixMillis) -> u32 {
    let regenerated = now.since(member.energy_at).max(0) / REGENERATION_MILLIS;
    u32::try_from(regenerated)
        .unwrap_or(FULL)
        .saturating_add(member.energy)
        .min(FULL)
}
