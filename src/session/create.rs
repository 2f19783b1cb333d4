//! Making a raid: an id and a code of its own, then one command like any other.

use std::ops::Range;

use raidhall_protocol::RaidId;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::Mutex;
use tracing::warn;

use super::actor::Origin;
use super::message::SessionMessage;
use super::{Registry, request_reply};
use crate::error::Error;
use crate::raid::{self, Refusal};
use crate::store::{OpHash, Store, StoreError};

/// Letters and digits that nobody mistakes for one another.
const INVITE_CODE_ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const INVITE_CODE_LENGTH: usize = 8;
/// Ids taken from the store at once.
const ID_BLOCK_SIZE: u32 = 32;
/// A code is taken once in some 10^12 / raids tries; three in a row are none.
const CREATE_ATTEMPTS_MAX: usize = 3;

impl Registry {
    /// Makes a raid that `leader` leads, and waits until it is committed. A repeat with the same key gives the raid
    /// that the first made.
    pub async fn create(
        &self,
        leader: PlayerRef,
        new: NewRaid,
        key: Option<OpHash>,
    ) -> Result<RaidId, Error> {
        // Without a key of the client's it gets one of its own: a try whose fate is unknown must not make a second.
        let key = match key {
            Some(key) => key,
            None => OpHash(random_bytes().map_err(|_| Error::Internal)?),
        };
        for _ in 0..CREATE_ATTEMPTS_MAX {
            if self.handing_over.is_cancelled() {
                break;
            }
            if let Some(raid) = self
                .store
                .raid_by_create_key(key)
                .await
                .map_err(log_unavailable)?
            {
                return Ok(raid);
            }
            let raid = self
                .raid_ids
                .allocate(&*self.store)
                .await
                .map_err(log_unavailable)?;
            let command = raid::RaidCommand::Create {
                leader: leader.clone(),
                invite_code: generate_invite_code().map_err(|_| Error::Internal)?,
                raid: new.clone(),
            };
            let made = request_reply(|reply| {
                self.send_with_origin(
                    raid,
                    Origin::New,
                    SessionMessage::Create {
                        command,
                        key,
                        reply,
                    },
                )
            })
            .await;
            match made {
                Ok(_) => return Ok(raid),
                // The id is ours alone: if there is such a raid, it is this one. If not, the code was taken, a request
                // with the same key was quicker, or somebody asked for the id before there was a raid: the next turn.
                Err(Error::Unavailable | Error::Refused(Refusal::NotFound)) => {
                    if self
                        .store
                        .head(raid)
                        .await
                        .map_err(log_unavailable)?
                        .is_some()
                    {
                        return Ok(raid);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unavailable)
    }
}

fn log_unavailable(error: StoreError) -> Error {
    warn!(error = ?error, "a raid could not be made");
    Error::Unavailable
}

/// Ids for raids to come, taken from the store in blocks.
#[derive(Default)]
pub(super) struct RaidIdAllocator(Mutex<Range<u64>>);

impl RaidIdAllocator {
    async fn allocate(&self, store: &dyn Store) -> Result<RaidId, StoreError> {
        let mut block = self.0.lock().await;
        if block.is_empty() {
            *block = store.reserve_raid_ids(ID_BLOCK_SIZE).await?;
        }
        let id = block.next().and_then(|id| RaidId::try_from(id).ok());
        Ok(id.expect("the store gives as many ids as it was asked for, all below 2^53"))
    }
}

pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], rand::rand_core::OsError> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

fn generate_invite_code() -> Result<String, rand::rand_core::OsError> {
    let bytes: [u8; INVITE_CODE_LENGTH] = random_bytes()?;
    // 32 letters divide 256: each is as likely as the next.
    Ok(bytes
        .iter()
        .map(|byte| {
            char::from(INVITE_CODE_ALPHABET[usize::from(*byte) % INVITE_CODE_ALPHABET.len()])
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invite_codes_have_eight_letters_of_the_alphabet_and_differ() {
        let codes = (0..1_000)
            .map(|_| generate_invite_code().expect("randomness"))
            .collect::<Vec<_>>();
        assert!(
            codes
                .iter()
                .all(|code| code.len() == 8
                    && code.bytes().all(|b| INVITE_CODE_ALPHABET.contains(&b)))
        );
        let distinct = codes.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), codes.len());
        let letters = codes
            .concat()
            .bytes()
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(
            letters.len(),
            INVITE_CODE_ALPHABET.len(),
            "every letter is used"
        );
    }
}
