//! Energy: members spend it on claims, lose it by failing tasks, and regain it over time.
//!
//! No timer runs. A member has `energy` as of `energy_at`, and the present energy is computed from
//! both.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::state::Member;

/// Energy of a new member, and the maximum.
pub(crate) const FULL: u32 = 100;
/// Energy that claiming a task costs.
pub(super) const CLAIM: u32 = 10;
/// Energy that completing a task gives back.
pub(super) const COMPLETION: u32 = 5;
/// Energy that failing a task costs; a member's energy does not fall below 0.
pub(super) const FAILURE: u32 = 15;
/// Time in which a member regains 1 energy, in milliseconds.
const REGENERATION_MILLIS: i64 = 60_000;

/// Returns a member's energy at a moment.
pub(super) fn at(member: &Member, now: UnixMillis) -> u32 {
    let regenerated = now.since(member.energy_at).max(0) / REGENERATION_MILLIS;
    u32::try_from(regenerated)
        .unwrap_or(FULL)
        .saturating_add(member.energy)
        .min(FULL)
}
