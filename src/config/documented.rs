//! `docs/CONFIGURATION.md` against `config/default.toml`: what the one says of a key, the other does.

use std::fmt::Write;
use std::path::PathBuf;

use super::settings::{DEFAULTS, Settings};

const MARK: &str = "<!-- made from config/default.toml: UPDATE_FIXTURES=1 cargo test -p raidhall --lib configuration_is_documented -->\n";

fn document_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md")
}

fn read_document() -> String {
    std::fs::read_to_string(document_path()).expect("the document")
}

/// A table for each section, in the order of the file.
fn render_tables() -> String {
    let (mut tables, mut meaning, mut keys) = (String::new(), Vec::new(), 0);
    for line in DEFAULTS.lines() {
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            write!(
                tables,
                "\n### [{section}]\n\n| key | default | meaning |\n|---|---|---|\n"
            )
            .expect("text");
            meaning.clear();
        } else if let Some(comment) = line.strip_prefix("# ") {
            meaning.push(comment);
        } else if let Some((key, default)) = line.split_once(" = ") {
            let meaning = std::mem::take(&mut meaning).join(" ").replace('|', "\\|");
            writeln!(tables, "| `{key}` | `{default}` | {meaning} |").expect("text");
            keys += 1;
        }
    }
    assert_eq!(
        keys,
        Settings::defaults().iter().count(),
        "every key has its line"
    );
    tables
}

#[test]
fn configuration_is_documented() {
    let document = read_document();
    let (by_hand, made) = document.split_once(MARK).expect("the mark");
    let tables = render_tables();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(document_path(), format!("{by_hand}{MARK}{tables}")).expect("written");
    } else {
        assert!(
            made == tables,
            "docs/CONFIGURATION.md lags: write it with UPDATE_FIXTURES=1"
        );
    }
}

#[test]
fn every_limit_is_in_the_overview_tables_with_its_default() {
    let document = read_document();
    let (by_hand, _) = document.split_once(MARK).expect("the mark");
    let settings = Settings::defaults();
    let rows: Vec<Vec<&str>> = by_hand
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    for (key, setting) in settings
        .iter()
        .filter(|(key, _)| key.starts_with("limits."))
    {
        let default = setting.value.to_i128().expect("a number").to_string();
        let named: Vec<_> = rows
            .iter()
            .filter(|row| row[1].trim_start_matches("two ") == format!("`{key}`"))
            .collect();
        assert!(!named.is_empty(), "{key} is in no table");
        for row in named {
            assert_eq!(row[2], default, "{key}");
        }
    }
    let known = |row: &&Vec<&str>| {
        let mut quoted = row[1].split('`').skip(1).step_by(2);
        quoted.all(|key| settings.get(key).is_some())
    };
    let unknown: Vec<_> = rows.iter().filter(|row| !known(row)).collect();
    assert!(unknown.is_empty(), "no such keys: {unknown:?}");
}
