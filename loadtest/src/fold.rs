//! A client's fold of events into a raid's state, and a device's into a player's, written from the protocol's specification and not
//! from the server's code.
//!
//! It knows no rule of the game: events carry results, and a fold only stores them. An event that
//! contradicts the state is reported and changes nothing.

mod apply;
mod stream;

use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, RaidState, Seq, TaskId};
pub use stream::StreamFold;
pub(crate) use stream::apply_to_streak;

/// A raid as one client holds it: a state and the seq that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    raid: RaidId,
    seq: Seq,
    state: Option<RaidState>,
}

/// Why an event cannot follow those that were folded before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The event's seq is not the next one.
    #[error("event {got} after {held}")]
    NotNext {
        /// The newest seq that was folded.
        held: Seq,
        /// The seq of the event.
        got: Seq,
    },
    /// The first event is not `raid_created`, or a later one is.
    #[error("a raid is created by its first event and by no other")]
    MisplacedCreation,
    /// The event concerns a player who is not a member.
    #[error("player {0} is not a member")]
    NotAMember(PlayerId),
    /// A member joins again without having left.
    #[error("player {0} is a member already")]
    DuplicateMember(PlayerId),
    /// The event concerns a task that was never added.
    #[error("task {0} does not exist")]
    UnknownTask(TaskId),
    /// A task is added with the id of an existing one.
    #[error("task {0} exists already")]
    DuplicateTask(TaskId),
    /// The event has no `by`, though its type needs a player there.
    #[error("an event of this type needs a player in `by`")]
    MissingPlayer,
    /// The raid has ended, and the event is neither about chat nor an erasure.
    #[error("the raid has ended")]
    Ended,
}

impl Fold {
    /// Creates a fold of no events.
    pub const fn new(raid: RaidId) -> Fold {
        Fold {
            raid,
            seq: Seq::ZERO,
            state: None,
        }
    }

    /// Creates a fold that begins with a snapshot.
    pub fn from_snapshot(raid: RaidId, seq: Seq, state: RaidState) -> Fold {
        Fold {
            raid,
            seq,
            state: Some(state),
        }
    }

    /// Folds a whole history from its first event.
    pub fn from_events<'a>(
        raid: RaidId,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Fold, Contradiction> {
        let mut fold = Fold::new(raid);
        for event in events {
            fold.apply(event)?;
        }
        Ok(fold)
    }

    /// Replaces state and seq by those of a snapshot.
    pub fn replace(&mut self, seq: Seq, state: RaidState) {
        self.seq = seq;
        self.state = Some(state);
    }

    /// Folds the next event.
    pub fn apply(&mut self, event: &Event) -> Result<(), Contradiction> {
        if event.seq != self.seq.next() {
            return Err(Contradiction::NotNext {
                held: self.seq,
                got: event.seq,
            });
        }
        match &mut self.state {
            None => self.state = Some(apply::create_state(self.raid, event)?),
            Some(state) => {
                let may_follow = matches!(
                    event.data,
                    EventData::Said { .. }
                        | EventData::MemberMuted { .. }
                        | EventData::PlayerErased { .. }
                );
                if state.status.ended() && !may_follow {
                    return Err(Contradiction::Ended);
                }
                apply::apply(state, event)?;
            }
        }
        self.seq = event.seq;
        Ok(())
    }

    /// Returns the newest seq that was folded; zero before the first event.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns the state; `None` before the first event.
    pub const fn state(&self) -> Option<&RaidState> {
        self.state.as_ref()
    }

    /// Returns whether the raid is active.
    pub fn is_active(&self) -> bool {
        self.state()
            .is_some_and(|state| state.status == RaidStatus::Active)
    }
}
