//! Validation of a command's values. It collects all faults, so that a refusal names every faulty
//! field at once.

use std::fmt::Display;
use std::ops::RangeInclusive;

use raidhall_protocol::{FieldFault, text};

use super::Refusal;

/// Collector of the faults in one command's values. A faulty value is recorded and replaced by a
/// harmless one; none of the values may be used before [`Values::finish`] has found no fault.
#[derive(Default)]
pub(crate) struct Values {
    faults: Vec<FieldFault>,
}

impl Values {
    pub(crate) fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(FieldFault::new(field, message));
    }

    /// Fails with all recorded faults.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Invalid(self.faults))
        }
    }

    /// Checks a name or title of at most `chars_max` characters and returns it trimmed.
    pub(crate) fn name(&mut self, field: &str, name: &str, chars_max: usize) -> String {
        self.checked(field, name, 1..=chars_max, text::check_name)
    }

    /// Checks a text of at most `chars_max` characters and returns it trimmed.
    pub(crate) fn text(&mut self, field: &str, text: &str, chars_max: usize) -> String {
        self.checked(field, text, 1..=chars_max, text::check_text)
    }

    /// Checks a text of at most `chars_max` characters, which may be empty, and returns it trimmed;
    /// an empty text becomes `None`.
    pub(crate) fn optional_text(
        &mut self,
        field: &str,
        text: Option<&str>,
        chars_max: usize,
    ) -> Option<String> {
        text.map(|text| self.checked(field, text, 0..=chars_max, text::check_characters))
            .filter(|text| !text.is_empty())
    }

    fn checked(
        &mut self,
        field: &str,
        text: &str,
        chars: RangeInclusive<usize>,
        check: fn(&str) -> Result<(), &'static str>,
    ) -> String {
        let text = text.trim();
        if !chars.contains(&text.chars().count()) {
            self.fault(field, between(&chars) + " characters");
        } else if let Err(fault) = check(text) {
            self.fault(field, fault);
        }
        text.to_owned()
    }

    /// Checks that what is added to a number is in a range, and not 0.
    pub(crate) fn change(&mut self, field: &str, amount: i64, range: RangeInclusive<i64>) -> i64 {
        if amount == 0 {
            self.fault(field, "must not be 0");
        }
        self.number(field, amount, range)
    }

    /// Checks that a number is in a range.
    pub(crate) fn number<T: TryFrom<i64> + Default>(
        &mut self,
        field: &str,
        number: i64,
        range: RangeInclusive<i64>,
    ) -> T {
        if range.contains(&number)
            && let Ok(number) = T::try_from(number)
        {
            return number;
        }
        self.fault(field, between(&range));
        T::default()
    }

    /// Checks a word of `[a-z_]`.
    pub(crate) fn word(&mut self, field: &str, word: &str, chars: RangeInclusive<usize>) -> String {
        if !chars.contains(&word.len())
            || !word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            self.fault(field, between(&chars) + " characters of a-z _");
        }
        word.to_owned()
    }
}

fn between<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("must be {} to {}", range.start(), range.end())
}
