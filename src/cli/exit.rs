//! How the process ends, for whatever supervises it.

use std::process::ExitCode;

use crate::app::StartError;

/// An exit code; the numbers are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped as asked.
    Ok = 0,
    /// The arguments or the configuration are wrong (EX_USAGE). Starting again unchanged cannot help.
    Configuration = 64,
    /// A backup is not what was written, or has no room here (EX_DATAERR): nothing was imported.
    Data = 65,
    /// Something needed from outside is missing, such as the database at start (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A defect, or a state that an operator must look at (EX_SOFTWARE).
    Internal = 70,
    /// Another instance holds the database (EX_TEMPFAIL): start again later.
    AlreadyRunning = 75,
}

impl From<&StartError> for Exit {
    fn from(error: &StartError) -> Self {
        match error {
            StartError::Unavailable { .. } => Self::Unavailable,
            StartError::Backup(_) => Self::Data,
            StartError::AlreadyRunning(_) => Self::AlreadyRunning,
            StartError::Internal(_) => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
