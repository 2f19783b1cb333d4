//! What every store demands of a batch before it looks at the database.

use std::collections::HashSet;

use anyhow::ensure;
use raidhall_protocol::Seq;

use super::{Append, Result, StoreError};

/// Refuses a batch that no store could take: a raid that stands twice in it, or an append without events or with a
/// hole between them.
pub(super) fn validate(batch: &[Append]) -> Result<()> {
    check_shape(batch).map_err(|source| StoreError::Refused {
        operation: "commit",
        source,
    })
}

fn check_shape(batch: &[Append]) -> anyhow::Result<()> {
    let mut raids = HashSet::new();
    for append in batch {
        ensure!(
            raids.insert(append.raid),
            "raid {} stands twice in a batch",
            append.raid
        );
        ensure!(
            append.first_seq() > Seq::ZERO,
            "raid {}: no first event",
            append.raid
        );
        for (recorded, seq) in append.events.iter().zip(append.first_seq().0..) {
            ensure!(
                recorded.event.seq == Seq(seq),
                "raid {}: hole before {seq}",
                append.raid
            );
        }
    }
    Ok(())
}
