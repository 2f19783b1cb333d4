//! The secret that signs tokens: configured by the operator, or generated once and kept beside the
//! database.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sha2::Sha256;
use thiserror::Error;

use crate::private_file;
use crate::random::random_bytes;
use crate::redact::REDACTED;

/// Minimum length of a secret in bytes: the output of SHA-256, the minimum for HS256 (RFC 7518,
/// section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Key material of at least [`SECRET_BYTES_MIN`] bytes. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthSecret(Vec<u8>);

impl AuthSecret {
    /// Creates a secret of these bytes; `None` if they are too few.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<AuthSecret> {
        let bytes = bytes.into();
        (bytes.len() >= SECRET_BYTES_MIN).then_some(AuthSecret(bytes))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Derives a key for one purpose in one context: HMAC-SHA256 of both. The key reveals nothing
    /// about the secret or about other keys.
    pub fn derive(&self, purpose: &str, context: &str) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [purpose, context] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// Reads a secret from the configuration; empty text means none.
pub(super) fn deserialize_optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<AuthSecret>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let found = text.len();
    let too_short = || format!("must have at least {SECRET_BYTES_MIN} bytes, has {found}");
    AuthSecret::new(text)
        .map(Some)
        .ok_or_else(|| D::Error::custom(too_short()))
}

impl fmt::Debug for AuthSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Reason why a secret could not be loaded.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("read the secret in {path}")]
    Read { path: PathBuf, source: io::Error },
    /// The file could not be created.
    #[error("keep a new secret in {path}")]
    Create { path: PathBuf, source: io::Error },
    /// The file's content is shorter than [`SECRET_BYTES_MIN`].
    #[error(
        "the secret in {path} has {found} bytes and needs at least {SECRET_BYTES_MIN}; delete the file for a new one, which ends every session"
    )]
    TooShort {
        path: PathBuf,
        /// Length of the content in bytes.
        found: usize,
    },
}

/// Loads the secret in `path`. If there is no such file, it is created from the operating system's
/// randomness, readable by its owner alone. Blocks on the file system. If several processes create
/// it at once, all of them get the secret that was first.
///
/// # Errors
///
/// See [`SecretError`].
pub fn load_or_create(path: &Path) -> Result<AuthSecret, SecretError> {
    if let Some(secret) = load(path)? {
        return Ok(secret);
    }
    create(path).map_err(|source| SecretError::Create {
        path: path.to_owned(),
        source,
    })?;
    load(path)?.ok_or_else(|| SecretError::Read {
        path: path.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })
}

/// Loads the secret from a file; returns `None` if there is no such file.
pub fn load(path: &Path) -> Result<Option<AuthSecret>, SecretError> {
    let text = match fs::read(path) {
        Ok(bytes) => bytes.trim_ascii().to_vec(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SecretError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let found = text.len();
    AuthSecret::new(text)
        .map(Some)
        .ok_or_else(|| SecretError::TooShort {
            path: path.to_owned(),
            found,
        })
}

/// Creates the file whole or not at all: it is written and synced under a temporary name and then
/// linked to its path, where it never replaces an existing file.
fn create(path: &Path) -> io::Result<()> {
    let random: [u8; SECRET_BYTES_MIN] = random_bytes().map_err(io::Error::other)?;
    let (written, mut file) = private_file::create_beside(path)?;
    let linked = file
        .write_all(HEXLOWER.encode(&random).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| link(&written, path));
    let _ = fs::remove_file(&written);
    linked?;
    // The name must survive a power cut as well, or the next start creates another secret and signs
    // every player out.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn link(written: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(written, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Some network and container file systems know no hard links.
        Err(_) => fs::rename(written, path),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_is_created_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let made = load_or_create(&path).expect("made");
        assert_eq!(load_or_create(&path).expect("kept"), made);
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "nothing is left over"
        );
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).expect("a file"));
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn processes_that_start_together_share_one_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let start = std::sync::Barrier::new(8);
        let secrets: Vec<AuthSecret> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        load_or_create(&path).expect("made")
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    #[test]
    fn secret_file_errors_name_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "too short\n").expect("written");
        let error = load_or_create(&path).expect_err("too short").to_string();
        assert!(
            error.contains("has 9 bytes") && error.contains("secret"),
            "{error}"
        );
        let error = load_or_create(&folder.path().join("missing/secret")).expect_err("no folder");
        assert!(matches!(error, SecretError::Create { .. }));
        assert!(matches!(
            load_or_create(folder.path()),
            Err(SecretError::Read { .. })
        ));
    }

    #[test]
    fn the_debug_output_of_a_secret_is_redacted() {
        assert_eq!(
            format!("{:?}", AuthSecret::new([7; 32])),
            "Some([redacted])"
        );
        assert_eq!(AuthSecret::new([7; 31]), None);
    }
}
