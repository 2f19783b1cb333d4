//! The patterns of texts in the schemas: they say what the checks of the server say.

use raidhall_protocol::text::{NAME, TEXT, TEXT_OR_NONE, check_characters, check_name, check_text};
use serde_json::json;

#[test]
fn the_patterns_of_texts_agree_with_the_checks_for_every_character() {
    type Check = fn(&str) -> Result<(), &'static str>;
    let rules: [(&str, Check); 3] = [
        (NAME, check_name),
        (TEXT, check_text),
        (TEXT_OR_NONE, check_characters),
    ];
    // The planes between and after these hold no character that a rule names.
    let characters = ('\0'..='\u{ffff}')
        .chain('\u{1b000}'..='\u{1dfff}')
        .chain('\u{dff00}'..='\u{e1fff}');
    for (pattern, check) in rules {
        let schema = jsonschema::validator_for(&json!({ "pattern": pattern })).expect("a schema");
        for text in characters
            .clone()
            .flat_map(|c| [format!("{c}"), format!("a{c}")])
        {
            assert_eq!(
                schema.is_valid(&json!(text)),
                check(&text).is_ok(),
                "{text:?} by {pattern}"
            );
        }
    }
}
