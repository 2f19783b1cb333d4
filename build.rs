//! Takes in what is not Rust: the web app, if it has been built.
//!
//! `sqlx::migrate!` takes the migrations in when it is compiled, and does not notice a new file by itself.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Where `npm run build` puts the app.
const APP: &str = "clients/web/dist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=migrations");
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let app = root.join(APP);
    // A path that is not there would make every build a new one.
    println!(
        "cargo:rerun-if-changed={}",
        if app.is_dir() { APP } else { "clients/web" }
    );
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("web_app.rs");
    fs::write(out, list(&app)?)?;
    Ok(())
}

/// Every file of the app as an expression: its path at the server, and its content as it is, as Brotli and as gzip.
fn list(app: &Path) -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    if app.join("index.html").is_file() {
        find(app, &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in files.iter().filter(|file| !is_packed(file)) {
        let path = file
            .strip_prefix(app)?
            .to_str()
            .ok_or("a name that is no Unicode")?
            .replace('\\', "/");
        let packed = |by: &str| {
            let packed = PathBuf::from(format!("{}.{by}", file.display()));
            if files.contains(&packed) {
                format!("Some(include_bytes!({packed:?}))")
            } else {
                "None".into()
            }
        };
        writeln!(
            text,
            "File {{ path: {:?}, raw: include_bytes!({file:?}), brotli: {}, gzip: {} }},",
            format!("/{path}"),
            packed("br"),
            packed("gz"),
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

fn is_packed(file: &Path) -> bool {
    file.extension()
        .is_some_and(|end| end == "br" || end == "gz")
}
