//! Builds an append to a player's stream.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::progression::StreakRules;

use crate::definitions::BoardDefinition;
use crate::player::{PlayerFold, lapse_streak, next_due, remind};
use crate::progression::{BoardTimes, Cause, ScoreTerms, add_score_moves};
use crate::store::streams::STATE_INTERVAL;
use crate::store::{OpHash, StreamAppend, StreamEntry};

/// An append in the making, and the fold with what was added.
#[derive(Clone)]
pub struct AppendBuilder {
    fold: PlayerFold,
    append: StreamAppend,
    /// The moment for which due reminders were last looked for.
    looked_at: UnixMillis,
}

impl AppendBuilder {
    /// Begins an append behind the fold.
    pub fn new(fold: PlayerFold) -> AppendBuilder {
        AppendBuilder {
            append: StreamAppend {
                player: fold.state.id,
                after: fold.seq,
                events: Vec::new(),
                state: None,
                due_at: None,
                scores: Vec::new(),
            },
            looked_at: fold.at,
            fold,
        }
    }

    /// Returns the fold with the events that were added.
    pub const fn fold(&self) -> &PlayerFold {
        &self.fold
    }

    /// Adds the effects of a cause, and what they add to the player's scores. The last effect carries
    /// the cause's op key.
    pub fn add_effects(
        &mut self,
        effects: Vec<PlayerEventData>,
        cause: &Cause,
        boards: &[BoardDefinition],
        times: BoardTimes,
    ) {
        let terms = ScoreTerms {
            times,
            is_public: self.fold.is_listed_on_boards(),
        };
        add_score_moves(&mut self.append.scores, cause, &effects, boards, terms);
        let op = OpHash::from_cause(cause.place);
        self.add(effects, cause.at, Some(cause.place), Some(op));
    }

    /// Adds the events of one command or cause. The last one carries its op key.
    pub fn add(
        &mut self,
        decided: Vec<PlayerEventData>,
        at: UnixMillis,
        cause: Option<RaidPlace>,
        op: Option<OpHash>,
    ) {
        // An event is never earlier than the one before it.
        let at = at.max(self.fold.at);
        let count = decided.len();
        for (data, number) in decided.into_iter().zip(1..) {
            let seq = self.fold.seq.next();
            let event = PlayerEvent {
                seq,
                at,
                cause,
                data,
            };
            self.fold.apply(&event);
            let op = op.filter(|_| number == count);
            self.append.events.push(StreamEntry { event, op });
        }
    }

    /// Adds the loss of a streak that had lapsed at a settled moment, if it had. It carries an op key
    /// of its own.
    pub fn add_loss(&mut self, settled_at: UnixMillis, now: UnixMillis, rules: &StreakRules) {
        let now = now.max(self.fold.at);
        let Some(lapses_at) = self.fold.state.streak.lapses_at else {
            return;
        };
        let lost = lapse_streak(&self.fold, settled_at, now, rules);
        let op = Some(OpHash::from_lapse(lapses_at));
        self.add(lost.into_iter().collect(), now, None, op);
    }

    /// Adds the reminder that is due at a settled moment, if one is. It carries an op key of its own.
    /// Those that were due long before are left out.
    pub fn add_reminder(&mut self, settled_at: UnixMillis, now: UnixMillis) {
        let now = now.max(self.fold.at);
        self.looked_at = now;
        if let Some((moment, reminder)) = remind(&self.fold, settled_at, now) {
            let op = Some(OpHash::from_reminder(moment));
            self.add(vec![reminder], now, None, op);
        }
    }

    /// Ends the append. It saves the state if that is due.
    pub fn build(self) -> (StreamAppend, PlayerFold) {
        let after = self.append.after;
        let is_state_due =
            after.0 == 0 || after.0 / STATE_INTERVAL != self.fold.seq.0 / STATE_INTERVAL;
        let append = StreamAppend {
            state: is_state_due.then(|| self.fold.encode()),
            due_at: next_due(&self.fold, self.looked_at.max(self.fold.at)),
            ..self.append
        };
        (append, self.fold)
    }
}
