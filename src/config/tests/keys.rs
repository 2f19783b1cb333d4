//! Every key is documented, and what is checked of keys is of keys that exist.

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
    // The reader of the defaults sees the same keys as this test; the structs have no key more and no key less,
    // or the defaults would not load.
    assert_eq!(keys, Settings::defaults().iter().count());
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
            let told = format!("({}-{})", range.start(), range.end());
            assert!(
                comment.iter().any(|line| line.contains(&told)),
                "{key}: its comment doesn't tell {told}"
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
