//! The exit codes of the process, for its supervisor.

use std::process::ExitCode;

use crate::app::StartError;

/// An exit code; the numbers are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded, or the server was stopped by a signal.
    Ok = 0,
    /// The arguments or the configuration are wrong (EX_USAGE). A restart without a change cannot
    /// help.
    Configuration = 64,
    /// The backup is damaged or invalid, or the database is not empty, and nothing was imported; or
    /// `rebuild` found differences that remain; or definitions have faults (EX_DATAERR).
    Data = 65,
    /// A dependency is unavailable, such as the database or its schema at start, or the lease was lost
    /// for good (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A defect, or a state that an operator must look at (EX_SOFTWARE).
    Internal = 70,
    /// Another instance holds the database, or one that cannot run beside this release is live
    /// (EX_TEMPFAIL). Try again later.
    AlreadyRunning = 75,
}

impl From<&StartError> for Exit {
    fn from(error: &StartError) -> Self {
        match error {
            StartError::Argument(_) => Self::Configuration,
            StartError::Unavailable { .. } | StartError::NotMigrated(_) => Self::Unavailable,
            StartError::Backup(_) | StartError::Definitions { .. } => Self::Data,
            StartError::AlreadyRunning(_) | StartError::OtherGeneration { .. } => {
                Self::AlreadyRunning
            }
            StartError::Internal(_) => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
