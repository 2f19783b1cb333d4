//! What an error of the driver or the database means to the store's callers, and to the connection that it came on.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::columns::NewerEventVersion;
use crate::store::StoreError;

/// The partition for what has none: see [`is_default_partition_conflict`].
const DEFAULT_PARTITION: &str = "raid_events_default";

/// The error of an operation, by what may help: trying again, or nothing.
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

/// Trying again may help.
pub(super) fn unavailable(operation: &'static str, source: impl Into<anyhow::Error>) -> StoreError {
    StoreError::Unavailable {
        operation,
        source: source.into(),
    }
}

/// Trying again won't help.
pub(super) fn refused(operation: &'static str, source: impl Into<anyhow::Error>) -> StoreError {
    StoreError::Refused {
        operation,
        source: source.into(),
    }
}

/// Whether the session may go on being used: the statement failed, and the server said so in full.
pub(super) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| {
        matches!(error.severity(), PgSeverity::Error)
            // Rolled back, lock or statement timed out: nothing is wrong with the session.
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

/// By class (<https://www.postgresql.org/docs/current/errcodes-appendix.html>): the data or the statement are at
/// fault. Everything else, from a deadlock to a full disk, has to do with the moment.
fn is_refused_code(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "22" | "23" | "42" | "44" | "54"))
}

/// The row was routed to the default partition while its month's own was being attached. It finds it next time.
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
