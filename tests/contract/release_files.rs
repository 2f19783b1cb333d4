//! Files that nothing else reads: the changelog, the list of tests that guard the promises, and the
//! supervisors' settings.

use std::path::Path;

use raidhall::config::Config;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn version(text: &str) -> Vec<u32> {
    let numbers = text
        .split('.')
        .map(|number| number.parse().expect("a number"));
    numbers.collect()
}

#[test]
fn every_release_in_the_changelog_has_a_date_and_a_link() {
    let changelog = read("CHANGELOG.md");
    let titles: Vec<_> = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let (unreleased, releases) = titles.split_first().expect("sections");
    assert_eq!(*unreleased, "[Unreleased]");
    let mut versions = Vec::new();
    for title in releases {
        let (name, date) = title.split_once(" - ").expect(title);
        let parts: Vec<_> = date.split('-').collect();
        assert_eq!(
            parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [4, 2, 2],
            "{title}"
        );
        assert!(
            parts.iter().all(|part| part.parse::<u32>().is_ok()),
            "{title}"
        );
        let anchor: String = title
            .chars()
            .filter(|char| !"[].".contains(*char))
            .map(|char| if char == ' ' { '-' } else { char })
            .collect();
        assert!(
            changelog.contains(&format!("\n{name}: #{anchor}\n")),
            "{title}"
        );
        versions.push(version(name.trim_matches(['[', ']'])));
    }
    assert!(
        versions.is_sorted_by(|newer, older| newer > older),
        "{versions:?}"
    );
    let current = version(env!("CARGO_PKG_VERSION"));
    assert!(current >= versions[0], "{current:?}, {versions:?}");
}

/// Adds the text of every Rust source below a directory.
fn collect_sources(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_test_that_guards_a_promise_exists() {
    let document = read("docs/architecture/tests.md");
    let (_, promises) = document.split_once("\n## Promises").expect("the promises");
    let mut sources = String::new();
    for directory in ["src", "tests", "protocol", "loadtest"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        collect_sources(&root.join(directory), &mut sources);
    }
    let is_test = |name: &&str| {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.bytes().all(is_part) && name.matches('_').count() > 2
    };
    let names: Vec<_> = promises
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(is_test)
        .collect();
    assert!(names.len() > 40, "{} names", names.len());
    for name in names {
        // A conformance check is a function that a macro makes a test of each store.
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
    }
}

/// A supervisor that kills the process before its drain ends cuts clients off.
#[test]
fn supervisors_wait_longer_than_a_drain_takes() {
    let drain = Config::default().shutdown.timeout;
    for (file, key) in [
        ("config/raidhall.service", "TimeoutStopSec="),
        ("compose.yaml", "stop_grace_period: "),
    ] {
        let text = read(file);
        let value = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .unwrap_or_else(|| panic!("{file} has no {key}"));
        let seconds: u64 = value.trim_end_matches('s').parse().expect("seconds");
        assert!(seconds > drain.as_secs(), "{file}: {value}");
    }
}
