//! Proof that players' streams follow from the raids' events, and repair of those that do not.
//!
//! Two folds of a stream are compared. The **recorded** fold applies the events as they are. The
//! **derived** fold applies the inputs: what the rules [`project`](crate::progression::project())
//! from each cause with the definitions in force for it, in the order of the stream, and the events
//! that no raid causes. Of those, what a command brought changes the numbers by the same amounts;
//! the others are applied as they are. Then
//!
//! - each event that a raid causes is what the rules give on one of the two folds, and each cause
//!   is there once;
//! - each cause up to the projector's place is there, unless it failed and the projector retries
//!   it;
//! - the numbers and lists of both folds are equal;
//! - the saved state is the recorded fold at its seq.
//!
//! Nothing is rewritten; a repair appends. A missing cause is projected, under the op key that the
//! projector would use, so it takes effect once. A number that differs gets a `corrected` event.
//! The state is saved with the append.
//!
//! **What a correction means.** One by an operator (`by` is set) is an input: it changes the
//! number of both folds by the same amount. One by this command (`by` is null) is none: it sets
//! the recorded number to the derived one. It also settles what was wrong with the events before
//! it, because they stay in the stream and would be found for ever; the derived fold goes on with
//! the allowance that the recorded fold has used, and with its skills, achievements, counters,
//! streak and items, since those are what the projector counts on. If
//! an event is wrong but no number is, a correction from a number to itself settles it. A second
//! run therefore finds nothing. Only what an append cannot mend is found again: seqs without an
//! event, other raids, events that cannot be read.
//!
//! **A server may be running.** The first pass reads the feed up to the projector's place of the
//! beginning, and keeps a count and a checksum of each player's causes. The second pass folds each
//! stream up to the seq at which it found it, and leaves later causes out of the comparison. A
//! stream in which something seems wrong is read a third time, with the list of its causes, before
//! anything is reported.

mod checked_stream;
mod difference;
mod feed_walk;
mod findings;
mod state_part;
mod stream_check;
mod stream_read;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub use findings::Findings;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, UnixMillis};

use self::feed_walk::FeedWalk;
use self::survey::{CauseDigest, Survey};
use crate::jobs::projector::RaidContexts;
use crate::progression::Cause;
use crate::store::{FeedCursor, Result, Store, StreamOutcome};
use crate::streams::CurrentDefinitions;
use crate::telemetry::Progress;

/// Players that are listed at once.
const PAGE_PLAYERS: u32 = 1_000;
/// Players whose lists of causes are held at once.
const LISTED_PLAYERS_MAX: usize = 1_000;
/// How often a stream is checked again because it moved on before its repair.
const ATTEMPTS: u32 = 5;

/// Checks players' streams, and repairs them.
pub struct Rebuild {
    store: Arc<dyn Store>,
    definitions: CurrentDefinitions,
    options: Options,
    contexts: RaidContexts,
    /// The projector's place at the beginning.
    end: FeedCursor,
    /// Causes that had failed at the beginning, by player.
    failed: BTreeMap<PlayerId, HashSet<RaidPlace>>,
}

/// What is to be checked, and whether it is repaired.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The only player to be checked; all if `None`.
    pub player: Option<PlayerId>,
    /// Whether nothing is repaired.
    pub is_check: bool,
    /// The time of corrections.
    pub now: UnixMillis,
}

impl Rebuild {
    /// Checks the streams and reports what it finds.
    ///
    /// # Errors
    ///
    /// Fails if the store does, or if a newer release wrote what is read. Repairs up to then
    /// remain.
    pub async fn run(
        store: Arc<dyn Store>,
        options: Options,
        findings: &mut Findings,
    ) -> Result<()> {
        let mut rebuild = Rebuild {
            contexts: RaidContexts::new(Arc::clone(&store)),
            end: store.projector_place().await?,
            failed: BTreeMap::new(),
            definitions: CurrentDefinitions::new(Arc::clone(&store)),
            store,
            options,
        };
        rebuild.read_failed(findings).await?;
        let survey = rebuild.survey().await?;
        let suspects = rebuild.find_suspects(&survey, findings).await?;
        for suspects in suspects.chunks(LISTED_PLAYERS_MAX) {
            let mut listed = rebuild.list_causes(suspects).await?;
            for player in suspects {
                let causes = listed.remove(player).unwrap_or_default();
                rebuild.settle(*player, &causes, findings).await?;
            }
        }
        Ok(())
    }

    fn is_chosen(&self, player: PlayerId) -> bool {
        self.options.player.is_none_or(|chosen| chosen == player)
    }

    /// Reads the causes that the projector retries.
    async fn read_failed(&mut self, findings: &mut Findings) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.store.failed_causes(after, PAGE_PLAYERS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.player);
            for failed in page {
                if self.is_chosen(failed.player) {
                    findings.report_failed(&failed);
                    let causes = self.failed.entry(failed.player).or_default();
                    causes.insert(failed.cause);
                }
            }
        }
    }

    /// Reads the feed, and counts the causes of each player.
    async fn survey(&mut self) -> Result<Survey> {
        let mut survey = Survey::default();
        let mut walk = FeedWalk::new(Arc::clone(&self.store), self.end);
        while let Some(events) = walk.next_page(&mut self.contexts).await? {
            for (place, causes) in events {
                survey.pass(place);
                let causes = causes.into_iter();
                for (player, cause) in causes.filter(|(player, _)| self.is_chosen(*player)) {
                    survey.add(player, cause.place);
                }
            }
        }
        Ok(survey)
    }

    /// Checks all streams. Returns the players of those in which something seems wrong.
    async fn find_suspects(
        &mut self,
        survey: &Survey,
        findings: &mut Findings,
    ) -> Result<Vec<PlayerId>> {
        let mut suspects = Vec::new();
        let players = self.list_players(survey).await?;
        let mut progress = Progress::new("checking players' streams", Some(players.len() as u64));
        for player in players {
            progress.add(1);
            let Some(checked) = self.check(player, &[]).await? else {
                continue; // erased
            };
            findings.count_checked(&checked);
            let passed = checked.causes().filter(|place| survey.has_passed(*place));
            let digest: CauseDigest = passed.collect();
            if !checked.found.is_empty() || digest != survey.digest(player) {
                suspects.push(player);
            }
        }
        Ok(suspects)
    }

    /// Returns the chosen players who have a stream or should have one.
    async fn list_players(&self, survey: &Survey) -> Result<BTreeSet<PlayerId>> {
        if let Some(player) = self.options.player {
            return Ok(BTreeSet::from([player]));
        }
        let mut players: BTreeSet<_> = survey.players().collect();
        let mut after = None;
        loop {
            let page = self.store.players_with_streams(after, PAGE_PLAYERS);
            let page = page.await?;
            if page.is_empty() {
                return Ok(players);
            }
            after = page.last().copied();
            players.extend(page);
        }
    }

    /// Reads the feed again, and lists the causes of a few players.
    async fn list_causes(&mut self, players: &[PlayerId]) -> Result<HashMap<PlayerId, Vec<Cause>>> {
        let mut listed: HashMap<_, Vec<_>> =
            players.iter().map(|player| (*player, vec![])).collect();
        let mut walk = FeedWalk::new(Arc::clone(&self.store), self.end);
        while let Some(events) = walk.next_page(&mut self.contexts).await? {
            for (player, cause) in events.into_iter().flat_map(|(_, causes)| causes) {
                if let Some(causes) = listed.get_mut(&player) {
                    causes.push(cause);
                }
            }
        }
        Ok(listed)
    }

    /// Checks a stream in which something seemed wrong, reports what is, and repairs it.
    async fn settle(
        &mut self,
        player: PlayerId,
        causes: &[Cause],
        findings: &mut Findings,
    ) -> Result<()> {
        for attempt in 1.. {
            let Some(checked) = self.check(player, causes).await? else {
                return Ok(());
            };
            if checked.found.is_empty() {
                return Ok(());
            }
            let is_to_repair = !self.options.is_check && attempt <= ATTEMPTS;
            let repair = is_to_repair.then(|| checked.repair(self.options.now));
            let Some(append) = repair.flatten() else {
                // An erasure during the check takes the events away.
                if self.store.load_stream(player, None).await?.is_some() {
                    findings.report(player, &checked.found, false);
                }
                return Ok(());
            };
            match self.store.append_to_stream(&append).await? {
                StreamOutcome::Appended => {
                    findings.report(player, &checked.found, true);
                    return Ok(());
                }
                StreamOutcome::Moved => {}
                StreamOutcome::Gone => return Ok(()),
            }
        }
        Ok(())
    }
}
