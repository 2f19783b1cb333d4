//! The state of a raid: what everybody sees, and the little more that the rules remember.

use raidhall_protocol::{PlayerId, RaidId, RaidState, Seq, UnixMillis};

/// A raid, live or folded. Before its first event (`seq` 0) it is unborn: nothing but a creation makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    seq: Seq,
    shown: RaidState,
}

impl State {
    /// A raid before its first event.
    pub fn unborn(id: RaidId) -> State {
        let _ = id;
        unreachable!()
    }

    /// The seq of the last event applied.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// When the last event happened; the next is never stamped earlier.
    pub const fn last_at(&self) -> UnixMillis {
        UnixMillis(0)
    }

    /// What everybody sees: a function of the seq alone.
    pub const fn shown(&self) -> &RaidState {
        &self.shown
    }

    /// Whether the player is a member now.
    pub fn is_member(&self, player: PlayerId) -> bool {
        self.shown.members.iter().any(|member| member.player == player)
    }

    /// When the raid is lost if it is not won: the deadline of an active raid.
    pub const fn due(&self) -> Option<UnixMillis> {
        None
    }
}
