//! Generates the tables in `docs/CONFIGURATION.md` from `config/default.toml`, and checks that they
//! agree.

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

/// Renders a table for each section, in the order of the file. The sub-keys that a comment lists,
/// indented by two more spaces, become a table of their own after that of the section.
fn render_tables() -> String {
    let mut tables = String::new();
    let mut sub_tables = String::new();
    let mut section = "";
    let mut meaning = Vec::new();
    let mut sub_keys = Vec::new();
    let mut keys = 0;
    for line in DEFAULTS.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            tables.push_str(&std::mem::take(&mut sub_tables));
            write!(
                tables,
                "\n### [{name}]\n\n| key | default | meaning |\n|---|---|---|\n"
            )
            .expect("text");
            section = name;
            meaning.clear();
            sub_keys.clear();
        } else if let Some(sub_key) = line.strip_prefix("#   ") {
            collect_sub_key(&mut sub_keys, sub_key);
        } else if let Some(comment) = line.strip_prefix("# ") {
            meaning.push(comment);
        } else if let Some((key, default)) = line.split_once(" = ") {
            let meaning = std::mem::take(&mut meaning).join(" ").replace('|', "\\|");
            writeln!(tables, "| `{key}` | `{default}` | {meaning} |").expect("text");
            sub_tables.push_str(&render_sub_keys(
                section,
                key,
                &std::mem::take(&mut sub_keys),
            ));
            keys += 1;
        }
    }
    tables.push_str(&sub_tables);
    assert_eq!(
        keys,
        Settings::defaults().iter().count(),
        "every key has its line"
    );
    tables
}

/// Adds a line `name   meaning`; a line that begins with a space continues the meaning of the line
/// before.
fn collect_sub_key(sub_keys: &mut Vec<(String, String)>, line: &str) {
    match (line.split_once(' '), sub_keys.last_mut()) {
        (Some(("", rest)), Some((_, meaning))) => {
            meaning.push(' ');
            meaning.push_str(rest.trim_start());
        }
        (Some((name, meaning)), _) => {
            sub_keys.push((name.to_owned(), meaning.trim_start().to_owned()));
        }
        (None, _) => panic!("a sub-key without a meaning: {line}"),
    }
}

fn render_sub_keys(section: &str, key: &str, sub_keys: &[(String, String)]) -> String {
    if sub_keys.is_empty() {
        return String::new();
    }
    let mut table =
        format!("\nThe keys of a `[[{section}.{key}]]` table:\n\n| key | meaning |\n|---|---|\n");
    for (name, meaning) in sub_keys {
        let meaning = meaning.replace('|', "\\|");
        writeln!(table, "| `{name}` | {meaning} |").expect("text");
    }
    table
}

#[test]
fn configuration_is_documented() {
    let document = read_document();
    let (by_hand, generated) = document.split_once(MARK).expect("the mark");
    let tables = render_tables();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(document_path(), format!("{by_hand}{MARK}{tables}")).expect("written");
    } else {
        assert!(
            generated == tables,
            "docs/CONFIGURATION.md is out of date: regenerate it with UPDATE_FIXTURES=1"
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
