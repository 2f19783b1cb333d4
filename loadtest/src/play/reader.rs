//! Requests by REST, beside a player's connection and to any server: reads of the raid, and repeats
//! of what the player has sent before.

use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::{Command, OpKey, RaidId, Seq};

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

/// What a reader asks for.
#[derive(Debug)]
pub(super) enum ReadRequest {
    Raid,
    /// The events after a seq.
    Events(Seq),
    RaidList,
    /// The creation of the raid once more, with the same key.
    Creation(Box<Creation>),
}

/// A raid as its creator asked for it, and the key of that request.
#[derive(Debug, Clone)]
pub(super) struct Creation {
    pub(super) raid: NewRaid,
    pub(super) key: OpKey,
}

impl Reader {
    /// Sends requests one after the other, each to the server after the one before: it must have
    /// what that one showed. Returns what the client log records.
    pub(super) async fn read(self, requests: Vec<ReadRequest>) -> Vec<Observation> {
        let mut observations = Vec::new();
        for (index, request) in requests.into_iter().enumerate() {
            let rest = self.rest.with_home(self.rest.targets().home() + index);
            let sent = self.clock.now();
            let result = self.send(&rest, request).await;
            observations.extend(self.observe(sent, result));
        }
        observations
    }

    /// Sends a command with an op that is sent elsewhere as well.
    pub(super) async fn repeat_command(self, op: OpKey, command: Command) -> Vec<Observation> {
        let result = self.rest.send_command(self.raid, Some(&op), &command);
        let acknowledged = result.await.map(|result| Observation::RepeatAcknowledged {
            op,
            seq: result.seq,
        });
        acknowledged.into_iter().collect()
    }

    async fn send(
        &self,
        rest: &RestClient,
        request: ReadRequest,
    ) -> Result<ReadAnswer, RestClientError> {
        match request {
            ReadRequest::Raid => {
                let view = rest.raid(self.raid).await?;
                Ok(ReadAnswer::Raid(Box::new(view)))
            }
            ReadRequest::Events(after) => Ok(ReadAnswer::Events {
                after,
                limit: PAGE_EVENTS,
                events: rest.events(self.raid, after, PAGE_EVENTS).await?,
            }),
            ReadRequest::RaidList => {
                let raids = rest.raids().await?;
                let ids = raids.into_iter().map(|raid| raid.id);
                Ok(ReadAnswer::RaidList(ids.collect()))
            }
            ReadRequest::Creation(creation) => {
                let view = rest
                    .create_raid(&creation.raid, Some(&creation.key))
                    .await?;
                Ok(ReadAnswer::Created(view.state.id))
            }
        }
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
