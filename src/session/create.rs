//! Creates a raid: allocates an id and an invite code, then sends one command like any other.

use std::ops::Range;

use raidhall_protocol::RaidId;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::actor::Origin;
use super::message::{ExecuteRequest, SessionMessage};
use super::{COMMAND_WAIT_MAX, Registry, request_reply};
use crate::error::Error;
use crate::raid::{self, Refusal};
use crate::random::random_bytes;
use crate::store::{CreationTerms, OpHash, Store, StoreError};

/// Alphabet of invite codes: digits and letters without those that are easily confused.
const INVITE_CODE_ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const INVITE_CODE_LENGTH: usize = 8;
/// Raid ids reserved from the store in one request.
const ID_BLOCK_SIZE: u32 = 32;
/// Attempts to create one raid. A random code is already taken once in about 10^12 / raids
/// attempts, so three collisions in a row do not happen.
const CREATE_ATTEMPTS_MAX: usize = 3;

/// The caller who creates a raid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaidCreator {
    /// The player who will lead it.
    Leader,
    /// The host app's backend, which has no limit.
    Service,
}

impl Registry {
    /// Creates a raid led by `leader`, and waits until it is committed. A repeated call with the
    /// same key returns the raid that the first call created. A raid that a player `requested_by`
    /// themselves is refused with `quota_exceeded` if they lead as many open ones as they may.
    pub async fn create(
        &self,
        leader: PlayerRef,
        new: NewRaid,
        key: Option<OpHash>,
        requested_by: RaidCreator,
    ) -> Result<RaidId, Error> {
        // Without a client's key the request gets a random one: an attempt with an unclear outcome
        // must not create a second raid.
        let key = match key {
            Some(key) => key,
            None => OpHash(random_bytes().map_err(|_| Error::Internal)?),
        };
        let led_raids_max = match requested_by {
            RaidCreator::Leader => Some(self.options.led_raids_max),
            RaidCreator::Service => None,
        };
        let terms = CreationTerms { key, led_raids_max };
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
            let result = request_reply(|reply| {
                self.deliver(
                    raid,
                    Origin::New,
                    SessionMessage::Create {
                        request: ExecuteRequest {
                            command,
                            op: None,
                            reply,
                            deadline: Instant::now() + COMMAND_WAIT_MAX,
                            forwarded_by: None,
                        },
                        terms,
                    },
                )
            })
            .await;
            match result {
                Ok(_) => return Ok(raid),
                // No other request uses this id: if the raid exists, this attempt created it.
                // Otherwise the code was taken, a request with the same key was first, or a request
                // for the id came before the raid existed. In all three cases another attempt
                // helps.
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
                // An earlier request with this key may have used up the quota.
                Err(error @ Error::Refused(Refusal::QuotaExceeded)) => {
                    let raid = self.store.raid_by_create_key(key).await;
                    return raid.map_err(log_unavailable)?.ok_or(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unavailable)
    }
}

fn log_unavailable(error: StoreError) -> Error {
    warn!(error = ?error, "creating a raid failed: store unavailable");
    Error::Unavailable
}

/// Allocator of raid ids, which it reserves from the store in blocks.
#[derive(Default)]
pub(super) struct RaidIdAllocator(Mutex<Range<u64>>);

impl RaidIdAllocator {
    async fn allocate(&self, store: &dyn Store) -> Result<RaidId, StoreError> {
        let mut block = self.0.lock().await;
        if block.is_empty() {
            *block = store.reserve_raid_ids(ID_BLOCK_SIZE).await?;
        }
        let id = block.next().and_then(|id| RaidId::try_from(id).ok());
        Ok(id.expect("the store reserves as many ids as requested, all below 2^53"))
    }
}

pub(super) fn generate_invite_code() -> Result<String, rand::rand_core::OsError> {
    let bytes: [u8; INVITE_CODE_LENGTH] = random_bytes()?;
    // 256 is a multiple of 32, so every letter is equally likely.
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
