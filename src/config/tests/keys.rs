//! Tests that every key is documented and read, and that checks name only keys that exist.

use super::*;

#[test]
fn every_key_is_documented() {
    let mut above = "";
    let mut keys = 0;
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            keys += 1;
            assert!(above.starts_with("# "), "no comment above: {line}");
        }
        above = line;
    }
    assert_eq!(keys, Settings::defaults().iter().count());
}

#[test]
fn every_key_is_read_by_a_component() {
    for (key, _) in Settings::defaults().iter() {
        let mut settings = Settings::defaults();
        settings.remove(key);
        assert!(Config::from_settings(&settings).is_err(), "{key}");
    }
}

#[test]
fn every_number_has_a_range_stated_in_its_comment() {
    for (key, setting) in Settings::defaults().iter() {
        let range = ranges::RANGES.iter().find(|(name, _)| *name == key);
        assert_eq!(range.is_some(), setting.value.to_i128().is_some(), "{key}");
        if let Some((_, range)) = range {
            let (_, name) = key.split_once('.').expect("a section");
            let text = DEFAULTS
                .split_once(&format!("\n{name} = "))
                .expect("its line")
                .0;
            let comment: Vec<_> = text
                .lines()
                .rev()
                .take_while(|line| line.starts_with('#'))
                .collect();
            let range_text = format!("({}-{})", range.start(), range.end());
            assert!(
                comment.iter().any(|line| line.contains(&range_text)),
                "{key}: its comment does not state {range_text}"
            );
        }
    }
}

#[test]
fn ranges_and_relations_name_keys_that_exist() {
    let settings = Settings::defaults();
    let related = relations::RELATIONS
        .iter()
        .flat_map(|relation| relation.keys);
    for key in related.chain(ranges::RANGES.iter().map(|(key, _)| key)) {
        assert!(settings.get(key).is_some(), "{key}");
    }
}

/// A contribution may be committed so much later than another one that happened after it: each is
/// tried for the patience, and a clock and a pause of the process need some more.
#[test]
fn a_streak_waits_for_the_longest_commits_before_it_is_lost() {
    let key = "store.commit_patience_ms";
    let range = ranges::RANGES.iter().find(|(name, _)| *name == key);
    let longest = *range.expect("a range").1.end();
    let delay = i128::from(crate::player::CONTRIBUTION_DELAY_MAX_MS);
    assert_eq!(delay, 2 * longest + 5_000);
}
