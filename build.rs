//! Embeds the files of the web app into the binary, if the app has been built, and the commit.
//!
//! It also makes Cargo watch the migrations: `sqlx::migrate!` embeds them when it is compiled, but
//! does not notice a new file by itself.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that `npm run build` writes the app to.
const APP: &str = "clients/web/dist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=migrations");
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let app = root.join(APP);
    // A path that does not exist would make Cargo run this script in every build.
    println!(
        "cargo:rerun-if-changed={}",
        if app.is_dir() { APP } else { "clients/web" }
    );
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=RAIDHALL_BUILD={}", build_name());
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("web_app.rs");
    fs::write(out, list(&app)?)?;
    Ok(())
}

/// Returns what `--version` shows beside the version: the commit from `RAIDHALL_COMMIT` or, in a
/// release build, from git. Other builds do not look for it, because then each commit would be
/// followed by a new build.
fn build_name() -> String {
    println!("cargo:rerun-if-env-changed=RAIDHALL_COMMIT");
    if let Some(commit) = std::env::var("RAIDHALL_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
    {
        return format!("commit {commit}");
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return "development build".to_owned();
    }
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    let git = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    match git.map(|output| (output.status.success(), String::from_utf8(output.stdout))) {
        Ok((true, Ok(commit))) => format!("commit {}", commit.trim()),
        _ => "unknown commit".to_owned(),
    }
}

/// Returns a Rust expression that lists the files of the app: the path at the server, and the
/// content uncompressed, as Brotli and as gzip.
fn list(app: &Path) -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    if app.join("index.html").is_file() {
        find(app, &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in files.iter().filter(|file| !is_compressed(file)) {
        let path = file
            .strip_prefix(app)?
            .to_str()
            .ok_or("the name of a file is not valid Unicode")?
            .replace('\\', "/");
        let compressed = |extension: &str| {
            let compressed = PathBuf::from(format!("{}.{extension}", file.display()));
            if files.contains(&compressed) {
                format!("Some(include_bytes!({compressed:?}))")
            } else {
                "None".into()
            }
        };
        writeln!(
            text,
            "File {{ path: {:?}, raw: include_bytes!({file:?}), brotli: {}, gzip: {} }},",
            format!("/{path}"),
            compressed("br"),
            compressed("gz"),
        )?;
    }
    text.push(']');
    Ok(text)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn is_compressed(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "br" || extension == "gz")
}
