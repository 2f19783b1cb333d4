//! The layers of `src`: no folder imports one of a higher or the same layer, so no two import each
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every folder and file of `src`, from the lowest layer to the highest. Those of one line do not
/// import each other.
const LAYERS: &[&[&str]] = &[
    &[
        "calendar",
        "option_value",
        "raid",
        "random",
        "redact",
        "task_group",
    ],
    &["private_file"],
    &["definitions", "error", "http_client"],
    &["limits", "player"],
    &["telemetry"],
    &["clock", "net", "progression"],
    &["store"],
    &["feed_reader"],
    &["auth", "backup", "webhooks"],
    &["cluster"],
    &["fanout"],
    &["session", "streams"],
    &["http", "jobs"],
    &["rebuild", "ws"],
    &["config"],
    &["app"],
    &["cli", "simulation"],
    &["lib", "main"],
];

fn source_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the code of a file without comments and tests. A test may import higher layers, to start
/// a whole instance for example.
fn production_code(path: &Path, inner: &Path) -> String {
    let is_test = inner
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
    if is_test {
        return String::new();
    }
    let text = std::fs::read_to_string(path).expect("a source file");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Returns the folders that the code imports as `crate::folder`, alone or in a group.
fn imported_folders(code: &str) -> BTreeSet<String> {
    let name = |text: &str| {
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        text[..end].to_owned()
    };
    let mut folders = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split(';').next().unwrap_or("");
                folders.extend(group.split(',').map(|item| name(item.trim())));
            }
            None => {
                folders.insert(name(rest));
            }
        }
    }
    folders
}

#[test]
fn no_folder_of_the_server_imports_one_above_it() {
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, folders)| folders.iter().map(move |folder| (*folder, layer)))
        .collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&source, &mut files);
    let mut upward = Vec::new();
    let mut imports = 0;
    for path in files {
        let inner = path.strip_prefix(&source).expect("a file of src");
        let folder = inner.iter().next().expect("a name").to_string_lossy();
        let folder = folder.trim_end_matches(".rs");
        let layer = layer_of
            .get(folder)
            .unwrap_or_else(|| panic!("{folder} has no layer"));
        for imported in imported_folders(&production_code(&path, inner)) {
            let Some(below) = layer_of.get(imported.as_str()) else {
                continue;
            };
            imports += 1;
            if imported != folder && below >= layer {
                upward.push(format!("{} imports {imported}", inner.display()));
            }
        }
    }
    assert!(imports > 300, "only {imports} imports were found");
    assert!(upward.is_empty(), "{upward:#?}");
}
