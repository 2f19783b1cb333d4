//! A client's fold of events into a raid's state, written from the contract and from nothing of the server's.
//!
//! It knows no rule of the game: events carry results, and a fold only puts them where they belong. Where an event
//! contradicts what is there, it says so and changes nothing.

mod apply;

use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, RaidState, Seq, TaskId};

/// A raid as one client has it: a state and the seq that it is a function of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    raid: RaidId,
    seq: Seq,
    state: Option<RaidState>,
}

/// Why an event cannot follow what was folded so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Not the next event.
    #[error("event {got} after {held}")]
    NotNext {
        /// The newest seq that was folded.
        held: Seq,
        /// The event's.
        got: Seq,
    },
    /// The first event is not `raid_created`, or a later one is.
    #[error("a raid is created by its first event and by no other")]
    MisplacedCreation,
    /// About somebody who is no member.
    #[error("player {0} is no member")]
    NotAMember(PlayerId),
    /// A member joins who is one.
    #[error("player {0} is a member already")]
    DuplicateMember(PlayerId),
    /// About a task that was never added.
    #[error("task {0} does not exist")]
    UnknownTask(TaskId),
    /// A task is added twice.
    #[error("task {0} exists already")]
    DuplicateTask(TaskId),
    /// Without a player, though its type needs one.
    #[error("an event of this type needs a player in `by`")]
    MissingPlayer,
    /// The raid has ended, and this is not talk.
    #[error("the raid has ended")]
    Ended,
}

impl Fold {
    /// Nothing yet.
    pub const fn new(raid: RaidId) -> Fold {
        Fold {
            raid,
            seq: Seq::ZERO,
            state: None,
        }
    }

    /// Begins with a snapshot.
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

    /// Replaces everything by a snapshot.
    pub fn replace(&mut self, seq: Seq, state: RaidState) {
        (self.seq, self.state) = (seq, Some(state));
    }

    /// Takes the next event in.
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
                    EventData::Said { .. } | EventData::PlayerErased { .. }
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

    /// The newest seq that was folded; zero before the first event.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// The state; none before the first event.
    pub const fn state(&self) -> Option<&RaidState> {
        self.state.as_ref()
    }

    /// Whether the raid is under way.
    pub fn is_active(&self) -> bool {
        self.state()
            .is_some_and(|state| state.status == RaidStatus::Active)
    }
}
