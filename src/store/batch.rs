//! Validation that every store applies to a batch before it touches the database.

use std::collections::HashSet;

use anyhow::ensure;
use raidhall_protocol::Seq;

use super::{Append, Result, StoreError};

/// Refuses a batch that names a raid twice, or that has an append without events or with a gap
/// between their seqs.
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
            "raid {} appears twice in a batch",
            append.raid
        );
        ensure!(
            append.first_seq() > Seq::ZERO,
            "raid {}: the append has no events",
            append.raid
        );
        for (recorded, seq) in append.events.iter().zip(append.first_seq().0..) {
            ensure!(
                recorded.event.seq == Seq(seq),
                "raid {}: gap before event {seq}",
                append.raid
            );
        }
    }
    Ok(())
}
