//! Which of SQLite's errors may pass, and which are for good.

use std::error::Error;

use anyhow::anyhow;

use crate::store::{Result, StoreError};

/// Primary result codes that the same statement meets again: an SQL error, a value too big, a constraint, a type
/// mismatch, a parameter out of range (<https://sqlite.org/rescode.html>).
const PERMANENT_CODES: [u32; 5] = [1, 18, 19, 20, 25];

/// Names the operation that a database error befell, for `map_err`.
pub(super) fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match &error {
        sqlx::Error::Database(fault) if is_permanent(fault.code().as_deref()) => {
            refused(operation, error)
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
            refused(operation, error)
        }
        _ => StoreError::Unavailable {
            operation,
            source: error.into(),
        },
    }
}

/// The store holds, or was given, what it cannot take.
pub(super) fn refused(
    operation: &'static str,
    error: impl Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Refused {
        operation,
        source: error.into(),
    }
}

/// The writing thread is gone.
pub(super) fn closed(operation: &'static str) -> StoreError {
    StoreError::Unavailable {
        operation,
        source: anyhow!("the database is closed"),
    }
}

/// A number from the database that is never negative.
pub(super) fn unsigned(operation: &'static str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|error| refused(operation, error))
}

fn is_permanent(extended_code: Option<&str>) -> bool {
    let code: Option<u32> = extended_code.and_then(|code| code.parse().ok());
    code.is_some_and(|code| PERMANENT_CODES.contains(&(code & 0xff)))
}
