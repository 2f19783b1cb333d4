//! Reads of a raid by REST, beside a player's connection and from any server.

use raidhall_protocol::{RaidId, Seq};

use crate::client::{RestClient, RestClientError};
use crate::client_log::{Moment, Observation, ReadAnswer, RestRead, RunClock};

const PAGE_EVENTS: u64 = 20;

/// A reader of one raid as one of its players.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) rest: RestClient,
    pub(super) raid: RaidId,
    pub(super) clock: RunClock,
}

impl Reader {
    /// Reads the raid, and then its events after a seq from another server, which must have what
    /// the first one showed. Returns what the client log records.
    pub(super) async fn read(self, after: Seq) -> Vec<Observation> {
        let sent = self.clock.now();
        let view = self.rest.raid(self.raid).await;
        let view = view.map(|view| ReadAnswer::Raid(Box::new(view)));
        let first = self.observe(sent, view);
        let other = self.rest.with_home(self.rest.targets().home() + 1);
        let sent = self.clock.now();
        let events = other.events(self.raid, after, PAGE_EVENTS).await;
        let events = events.map(|events| ReadAnswer::Events {
            after,
            limit: PAGE_EVENTS,
            events,
        });
        let second = self.observe(sent, events);
        first.into_iter().chain(second).collect()
    }

    /// Returns what is to be recorded of a request: nothing if there was no response.
    fn observe(
        &self,
        sent: Moment,
        result: Result<ReadAnswer, RestClientError>,
    ) -> Option<Observation> {
        let result = match result {
            Ok(answer) => Ok(answer),
            Err(RestClientError::Refused { body, .. }) => Err(body),
            Err(RestClientError::NoResponse { .. }) => return None,
            Err(error @ RestClientError::UnexpectedResponse { .. }) => {
                let text = error.to_string();
                return Some(Observation::Unreadable { text, error: false });
            }
        };
        Some(Observation::Read(RestRead {
            sent,
            answered: self.clock.now(),
            result,
        }))
    }
}
