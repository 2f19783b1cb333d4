//! Random bytes and ids, all from the operating system.

use rand::TryRngCore;
use rand::rand_core::OsError;
use rand::rngs::OsRng;
use uuid::{NoContext, Timestamp, Uuid};

/// Returns random bytes that cannot be guessed.
///
/// # Errors
///
/// The operating system has no randomness to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], OsError> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

/// Returns a new id. Ids are ordered by their time, to the millisecond, which keeps an index of them
/// compact.
pub fn new_uuid() -> Uuid {
    // Without a context every call draws the same number of random bytes, so that simulated runs
    // repeat (docs/DETERMINISM.md).
    Uuid::new_v7(Timestamp::now(NoContext))
}
