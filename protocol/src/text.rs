//! Rules of new texts. Texts that were stored before a rule existed stay as they are.
//!
//! The patterns say the same as the functions, for the schemas in the API's documents. They are
//! written in what the regular expressions of ECMA-262, Python and Rust have in common, which names
//! no character beyond U+FFFF: all of those count as visible.

/// Control characters, as ranges of a pattern.
macro_rules! control_ranges {
    () => {
        r"\x00-\x1f\x7f-\x9f"
    };
}

/// Bidirectional controls, as ranges of a pattern.
macro_rules! bidi_ranges {
    () => {
        r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    };
}

/// Characters that show nothing, besides white space and control characters, as ranges of a
/// pattern.
macro_rules! blank_ranges {
    () => {
        concat!(
            r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e",
            r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
        )
    };
}

/// Pattern of a name or title, see [`check_name`].
pub const NAME: &str = concat!(
    "^[^",
    control_ranges!(),
    bidi_ranges!(),
    r"]*[^\s",
    control_ranges!(),
    blank_ranges!(),
    "][^",
    control_ranges!(),
    bidi_ranges!(),
    "]*$"
);

/// Pattern of required text, see [`check_text`].
pub const TEXT: &str = concat!(
    "^[^",
    control_ranges!(),
    r"]*[^\s",
    control_ranges!(),
    blank_ranges!(),
    "][^",
    control_ranges!(),
    "]*$"
);

/// Pattern of text that may be empty, see [`check_characters`].
pub const TEXT_OR_NONE: &str = concat!("^[^", control_ranges!(), "]*$");

/// Checks the characters of a name or title, which is shown within other texts: like
/// [`check_text`], and without bidirectional controls, which would reorder those texts. Returns
/// what it must be.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.chars().any(is_bidi_control) {
        return Err("must not contain bidirectional controls");
    }
    check_text(name)
}

/// Checks the characters of a text: no control characters, and at least one that is visible.
/// Returns what it must be.
pub fn check_text(text: &str) -> Result<(), &'static str> {
    check_characters(text)?;
    if text.chars().any(is_visible) {
        Ok(())
    } else {
        Err("must contain a visible character")
    }
}

/// Checks that a text contains no control characters. Returns what it must be.
pub fn check_characters(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else {
        Ok(())
    }
}

/// Returns whether a character changes the direction of the text around it (the property
/// `Bidi_Control` of Unicode).
pub fn is_bidi_control(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns whether a character shows something by itself. Those that do not are white space,
/// control characters, what Unicode calls `Default_Ignorable_Code_Point` (joiners, fillers,
/// variation selectors), annotations, and the blank Braille pattern.
pub fn is_visible(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || is_blank(c))
}

fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_visible_character_and_no_bidirectional_control() {
        let persian = "می\u{200c}خواهم";
        for name in [
            "Ada",
            "é",
            "❤\u{fe0f}",
            "👩\u{200d}👧",
            persian,
            "a\u{200b}",
            "\u{2801}",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
        for blank in [
            "",
            " ",
            "\u{200b}",
            "\u{2060}\u{3164}",
            "\u{2800}",
            "\u{a0}",
        ] {
            let fault = Err("must contain a visible character");
            assert_eq!(check_name(blank), fault, "{blank:?}");
            assert_eq!(check_text(blank), fault, "{blank:?}");
        }
        for reordering in ["a\u{202e}b", "\u{2066}a\u{2069}", "a\u{200f}", "\u{61c}a"] {
            let fault = Err("must not contain bidirectional controls");
            assert_eq!(check_name(reordering), fault, "{reordering:?}");
            assert_eq!(check_text(reordering), Ok(()), "{reordering:?}");
        }
        assert!(check_name("a\u{1b}b").is_err());
    }
}
