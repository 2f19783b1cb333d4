//! New files that only their owner can read, written under a temporary name first.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::random::new_uuid;

/// Creates an empty file in the directory of `path`, under a name that begins as `path` and that
/// no process can guess, so that no link can be planted under it. The caller writes it and then renames
/// or links it to `path`.
///
/// # Errors
///
/// Fails if the directory cannot be written.
pub fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.partial", new_uuid().simple()));
    let name = PathBuf::from(name);
    let mut options = OpenOptions::new();
    // Fails if the name exists, even as a link to nothing.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&name)?;
    Ok((name, file))
}
