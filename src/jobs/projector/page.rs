//! Computes and writes the effects of causes.

use std::collections::HashSet;

use raidhall_protocol::PlayerId;
use raidhall_protocol::player::event::RaidPlace;
use tracing::error;

use super::causes::Work;
use super::{Projector, Tenure};
use crate::player::PlayerFold;
use crate::progression::project;
use crate::store::{
    FailedCause, OpHash, ProjectedPage, ProjectionOutcome, Result, StoreError, StreamAppend,
};
use crate::streams::{AppendBuilder, StreamFault, fold_stream, load_each};
use crate::telemetry::metrics;

/// Maximum characters of an error that is kept with a failed cause.
const ERROR_CHARS_MAX: usize = 500;

/// A player's effects, and the state behind them.
struct Effects {
    append: StreamAppend,
    fold: PlayerFold,
}

impl Projector {
    /// Writes the effects of causes, and moves the place. Returns false if this instance is not the
    /// projector any more.
    pub(super) async fn project(&self, tenure: &mut Tenure, mut work: Work) -> Result<bool> {
        loop {
            let effects = self.compute(tenure, &mut work).await?;
            let page = ProjectedPage {
                from: tenure.place,
                to: work.to,
                appends: effects.iter().map(|it| it.append.clone()).collect(),
                failed: work.failed.clone(),
                settled: work.settled(),
            };
            match self.store.commit_projection(self.instance, &page).await {
                Ok(ProjectionOutcome::Committed) => {
                    self.announce(tenure, effects);
                    tenure.place = work.to;
                    if !work.failed.is_empty() {
                        self.report_failed().await?;
                    }
                    return Ok(true);
                }
                Ok(ProjectionOutcome::Moved(players)) => {
                    work.waiting.retain(|player, _| players.contains(player));
                    for player in &players {
                        tenure.folds.remove(player);
                    }
                    let is_written = |it: &Effects| !players.contains(&it.append.player);
                    self.announce(tenure, effects.into_iter().filter(is_written).collect());
                }
                Ok(ProjectionOutcome::Lost) => return Ok(false),
                Err(StoreError::Refused { .. }) if !effects.is_empty() => {
                    if !self.write_one_by_one(tenure, &mut work, effects).await? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes each player's effects alone, because the store refuses some of them. Returns false if
    /// this instance is not the projector any more.
    async fn write_one_by_one(
        &self,
        tenure: &mut Tenure,
        work: &mut Work,
        effects: Vec<Effects>,
    ) -> Result<bool> {
        for it in effects {
            let player = it.append.player;
            let page = ProjectedPage {
                from: tenure.place,
                to: tenure.place,
                appends: vec![it.append.clone()],
                ..ProjectedPage::default()
            };
            match self.store.commit_projection(self.instance, &page).await {
                Ok(ProjectionOutcome::Committed) => {
                    work.waiting.remove(&player);
                    self.announce(tenure, vec![it]);
                }
                Ok(ProjectionOutcome::Moved(_)) => {
                    tenure.folds.remove(&player);
                }
                Ok(ProjectionOutcome::Lost) => return Ok(false),
                Err(error @ StoreError::Refused { .. }) => {
                    tenure.folds.remove(&player);
                    self.put_aside(work, player, &format!("{error:?}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Computes the effects of waiting causes, each player's in a row. Causes that have taken effect
    /// already and players who are gone have none.
    async fn compute(&self, tenure: &mut Tenure, work: &mut Work) -> Result<Vec<Effects>> {
        if work.waiting.is_empty() {
            return Ok(Vec::new());
        }
        let causes = work.waiting.values().flatten();
        let newest = causes.map(|cause| cause.definitions).max();
        let newest = newest.unwrap_or_default();
        let definitions = self.definitions.up_to(newest).await?;
        self.load_folds(tenure, work).await?;
        let waiting = work.waiting.iter();
        let op = |place| OpHash::from_cause(place);
        let ops: Vec<_> = waiting
            .flat_map(|(player, causes)| causes.iter().map(move |it| (*player, op(it.place))))
            .collect();
        let found = self.store.find_stream_ops(&ops).await?;
        let found: HashSet<(PlayerId, OpHash)> = found.into_iter().collect();
        let mut effects = Vec::new();
        for (player, causes) in &work.waiting {
            let Some(fold) = tenure.folds.get(player) else {
                continue; // there is no such player any more
            };
            let mut append = AppendBuilder::new(fold.clone());
            if let Some(streaks) = &work.streaks {
                let now = self.clock.now();
                append.add_loss(streaks.settled_at, now, &streaks.rules);
                append.add_reminder(streaks.settled_at, now);
            }
            for cause in causes {
                if !found.contains(&(*player, op(cause.place))) {
                    let definitions = definitions.in_force_at(cause.definitions);
                    let decided = project(append.fold(), cause, definitions);
                    let boards = &definitions.boards;
                    append.add_effects(decided, cause, boards, tenure.boards);
                }
            }
            let (append, fold) = append.build();
            // Without events, what is due next for the streak has changed.
            if !append.events.is_empty() || work.streaks.is_some() {
                effects.push(Effects { append, fold });
            }
        }
        Ok(effects)
    }

    /// Loads the states that are not kept. Puts the causes of players aside whose streams cannot be
    /// read.
    async fn load_folds(&self, tenure: &mut Tenure, work: &mut Work) -> Result<()> {
        let unknown = |player: &PlayerId| !tenure.folds.contains_key(player);
        let players: Vec<_> = work.waiting.keys().copied().filter(unknown).collect();
        if players.is_empty() {
            return Ok(());
        }
        for (player, stream) in load_each(&*self.store, &players).await? {
            let folded = match stream {
                Ok(stream) => fold_stream(&*self.store, player, stream).await,
                Err(error) => Err(StreamFault::Store(error)),
            };
            match folded {
                Ok(fold) => {
                    tenure.folds.insert(player, fold);
                }
                Err(StreamFault::Store(error)) if !is_refused(&error) => return Err(error),
                Err(fault) => self.put_aside(work, player, &fault.to_string()),
            }
        }
        Ok(())
    }

    /// Puts a player's waiting causes aside, to be tried again later.
    fn put_aside(&self, work: &mut Work, player: PlayerId, reason: &str) {
        let is_kept = |c: &char| !c.is_control();
        let reason: String = reason
            .chars()
            .filter(is_kept)
            .take(ERROR_CHARS_MAX)
            .collect();
        if work.streaks.is_some() {
            error!(%player, reason, "what is due for a streak is not in the stream yet");
        }
        for cause in work.waiting.remove(&player).unwrap_or_default() {
            let RaidPlace { raid, seq } = cause.place;
            error!(%player, %raid, %seq, reason, "an event of a raid has no effect on the player's stream yet");
            work.failed.push(FailedCause {
                player,
                cause: cause.place,
                error: reason.clone(),
                failed_at: self.clock.now(),
            });
        }
    }

    /// Keeps the states behind effects that were written, and wakes those who follow the streams.
    fn announce(&self, tenure: &mut Tenure, effects: Vec<Effects>) {
        for Effects { append, fold } in effects {
            let count = append.events.len() as u64;
            metrics().projected_events.increment(count);
            if count > 0 {
                self.streams.announce(append.player, fold.seq);
            }
            tenure.folds.insert(append.player, fold);
        }
    }

    pub(super) async fn report_failed(&self) -> Result<()> {
        let count = self.store.count_failed_causes().await?;
        metrics().projector_faults.set(count as f64);
        Ok(())
    }
}

impl Work {
    /// Returns the causes that failed earlier and have not failed again.
    fn settled(&self) -> Vec<(PlayerId, RaidPlace)> {
        let has_failed = |(player, cause): &&(PlayerId, RaidPlace)| {
            let is_same = |it: &FailedCause| it.player == *player && it.cause == *cause;
            !self.failed.iter().any(is_same)
        };
        self.retried.iter().filter(has_failed).copied().collect()
    }
}

const fn is_refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused { .. })
}
