//! Classification of errors of the driver and the database: what they mean to the store's callers,
//! and to the connection that they came on.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::columns::NewerEventVersion;
use crate::store::StoreError;

/// The partition of events whose month has none: see [`is_default_partition_conflict`].
const DEFAULT_PARTITION: &str = "raid_events_default";

/// Converts an operation's error by whether a retry may help.
pub(super) fn from_sqlx(operation: &'static str, error: sqlx::Error) -> StoreError {
    if let sqlx::Error::Decode(source) = &error
        && let Some(NewerEventVersion(version)) = source.downcast_ref()
    {
        return StoreError::NewerVersion { version: *version };
    }
    if is_refusal(&error) {
        refused(operation, error)
    } else {
        unavailable(operation, error)
    }
}

/// Returns an error after which a retry may help.
pub(super) fn unavailable(operation: &'static str, source: impl Into<anyhow::Error>) -> StoreError {
    StoreError::Unavailable {
        operation,
        source: source.into(),
    }
}

/// Returns an error after which a retry cannot help.
pub(super) fn refused(operation: &'static str, source: impl Into<anyhow::Error>) -> StoreError {
    StoreError::Refused {
        operation,
        source: source.into(),
    }
}

/// Returns whether the session can still be used: the statement failed, and the server reported
/// that completely.
pub(super) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| {
        matches!(error.severity(), PgSeverity::Error)
            // After a rollback, or a time-out of a lock or statement, the session is intact.
            && (is_refused_code(error.code()) || matches!(error.code(), "40001" | "40P01" | "55P03" | "57014"))
    })
}

fn is_refusal(error: &sqlx::Error) -> bool {
    use sqlx::Error::{ColumnDecode, ColumnNotFound, Configuration, Decode, Encode, TypeNotFound};
    match database_error(error) {
        Some(error) => is_refused_code(error.code()) && !is_default_partition_conflict(error),
        None => matches!(
            error,
            Encode(_)
                | Decode(_)
                | ColumnDecode { .. }
                | ColumnNotFound(_)
                | TypeNotFound { .. }
                | Configuration(_)
        ),
    }
}

/// Returns whether the code's class
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) says that the data or the
/// statement are at fault. Everything else, from a deadlock to a full disk, may pass.
fn is_refused_code(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "22" | "23" | "42" | "44" | "54"))
}

/// Returns whether the row was routed to the default partition while its month's own was being
/// attached. A retry finds the new partition.
fn is_default_partition_conflict(error: &PgDatabaseError) -> bool {
    error.code() == "23514" && error.table() == Some(DEFAULT_PARTITION)
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::is_refused_code;

    #[test]
    fn only_data_and_statement_errors_count_as_refused() {
        for code in [
            "22P05", "22003", "22021", "23505", "23502", "42P01", "42501", "54000",
        ] {
            assert!(is_refused_code(code), "{code}");
        }
        for code in [
            "08006", "25006", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014",
            "57P01", "57P03", "57P05", "58030", "XX000", "0A000", "26000", "",
        ] {
            assert!(!is_refused_code(code), "{code}");
        }
    }
}
