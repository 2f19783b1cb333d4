//! Classification of SQLite's errors: those that a retry may help, and those that are permanent.

use std::error::Error;

use anyhow::anyhow;

use crate::store::{Result, StoreError};

/// Primary result codes that a retry meets again: an SQL error, a value too big, a constraint, a
/// type mismatch, a parameter out of range (<https://sqlite.org/rescode.html>).
const PERMANENT_CODES: [u32; 5] = [1, 18, 19, 20, 25];

/// Returns a function for `map_err` that adds the operation to a database error and classifies it.
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

/// Returns the error of a stored or given value that the store cannot handle.
pub(super) fn refused(
    operation: &'static str,
    error: impl Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Refused {
        operation,
        source: error.into(),
    }
}

/// Returns the error of a call after the writer thread has ended.
pub(super) fn closed(operation: &'static str) -> StoreError {
    StoreError::Unavailable {
        operation,
        source: anyhow!("the database is closed"),
    }
}

/// Converts a number from the database that is never negative.
pub(super) fn unsigned(operation: &'static str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|error| refused(operation, error))
}

fn is_permanent(extended_code: Option<&str>) -> bool {
    let code: Option<u32> = extended_code.and_then(|code| code.parse().ok());
    code.is_some_and(|code| PERMANENT_CODES.contains(&(code & 0xff)))
}
