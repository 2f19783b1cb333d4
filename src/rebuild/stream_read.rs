//! Reads a stream and what is behind it, page by page, for its comparison.

use std::collections::{HashMap, HashSet};

use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, Seq};

use super::Rebuild;
use super::checked_stream::CheckedStream;
use super::stream_check::StreamCheck;
use crate::progression::{BoardTimes, Cause, causes};
use crate::store::{Result, StoreError};

/// Events of a stream that are read at once.
const PAGE_EVENTS: u32 = 256;

impl Rebuild {
    /// Folds a stream and compares it with the raids' events, and with a list of causes that
    /// should have taken effect unless they failed. Returns `None` if the player does not exist or
    /// was erased.
    pub(super) async fn check(
        &mut self,
        player: PlayerId,
        expected: &[Cause],
    ) -> Result<Option<CheckedStream>> {
        match self.fold(player, expected).await {
            Err(StoreError::Refused { source, .. }) => {
                Ok(Some(CheckedStream::unreadable(player, &source)))
            }
            checked => checked,
        }
    }

    async fn fold(
        &mut self,
        player: PlayerId,
        expected: &[Cause],
    ) -> Result<Option<CheckedStream>> {
        let Some(loaded) = self.store.load_stream(player, None).await? else {
            return Ok(None);
        };
        // After the stream, so that they are known to all causes in it.
        let definitions = self.definitions.read().await?;
        let mut check = StreamCheck::new(player, &loaded, &definitions)?;
        let mut after = Seq::ZERO;
        while after < loaded.last_seq {
            let mut page = self.store.stream_events(player, after, PAGE_EVENTS).await?;
            page.retain(|event| event.seq <= loaded.last_seq);
            let Some(last) = page.last() else {
                break;
            };
            after = last.seq;
            let causes = self.find_causes(player, &page).await?;
            for event in &page {
                let cause = event.cause.and_then(|place| causes.get(&place));
                check.apply(event, cause);
            }
        }
        let failed = self.failed.get(&player);
        let has_failed = |cause: &&Cause| failed.is_some_and(|it| it.contains(&cause.place));
        let expected = expected.iter().filter(|cause| !has_failed(cause));
        let times = BoardTimes {
            since: self.store.boards_since().await?,
            final_until: self.store.boards_final_until().await?,
        };
        Ok(Some(check.finish(expected, times)))
    }

    /// Returns what the raids' events behind a player's events mean for the player.
    async fn find_causes(
        &mut self,
        player: PlayerId,
        events: &[PlayerEvent],
    ) -> Result<HashMap<RaidPlace, Cause>> {
        let places: HashSet<_> = events.iter().filter_map(|event| event.cause).collect();
        let places: Vec<_> = places.into_iter().collect();
        let mut found = HashMap::new();
        for committed in self.store.events_at(&places).await? {
            let Some(context) = self.contexts.find(&committed).await? else {
                continue;
            };
            let causes = causes(committed.raid, &committed.event, &context).into_iter();
            let own = causes.filter(|(of, _)| *of == player);
            found.extend(own.map(|(_, cause)| (cause.place, cause)));
        }
        Ok(found)
    }
}
