//! Tests of the wire contract: fixture bytes, generated types, and the decoding of hostile bytes.

mod golden;
mod hostile;
mod layout;
mod player_history;
mod player_samples;
mod round_trip;
mod samples;
mod typescript;

use std::fs;
use std::path::{Path, PathBuf};

/// Compares a committed file with its expected content, or writes it if `UPDATE_FIXTURES` is set.
#[track_caller]
fn check_kept(path: &Path, content: &[u8]) {
    if updating() {
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("make the folder");
        return fs::write(path, content).expect("write the file");
    }
    let kept = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}{HINT}", path.display()));
    let kept_text = String::from_utf8_lossy(&kept);
    let text = String::from_utf8_lossy(content);
    assert!(
        kept == content,
        "{} differs{HINT}\nkept: {kept_text}\nnow:  {text}",
        path.display()
    );
}

fn updating() -> bool {
    std::env::var_os("UPDATE_FIXTURES").is_some()
}

fn kept(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const HINT: &str = "; if the contract was meant to change, run with UPDATE_FIXTURES=1";
