//! The methods and paths of the API, read from the source text that registers them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Returns every registered route, such as `GET /raids/{id}`.
pub fn registered_routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let source = std::fs::read_to_string(path).expect("read a source file");
        // Without whitespace, it does not matter how a call is broken into lines.
        let source: String = source.split_whitespace().collect();
        routes.extend(source.split(".route(\"/api/v1").skip(1).flat_map(methods));
    }
    routes
}

fn methods(route: &str) -> Vec<String> {
    let (path, rest) = route.split_once('"').expect("a path");
    let handlers = arguments(rest);
    let methods = ["get", "post", "put", "patch", "delete"].into_iter();
    let used = methods.filter(|method| handlers.contains(&format!("{method}(")));
    used.map(|method| format!("{} {path}", method.to_uppercase()))
        .collect()
}

/// Returns the text up to the parenthesis that closes the call.
fn arguments(rest: &str) -> &str {
    let mut depth = 0;
    let end = rest.find(|character| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth < 0
    });
    &rest[..end.expect("an end of the call")]
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .expect("the sources")
        .map(|entry| entry.expect("an entry").path());
    let inside = entries.flat_map(|path| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    });
    inside
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
