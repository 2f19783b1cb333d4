//! What is printed, and what a run ends with.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::rebuild::Findings;
use crate::rebuild::difference::Difference;

/// Output whose text can be read, and that fails with an error if it is set.
#[derive(Clone, Default)]
struct TestOutput {
    text: Arc<Mutex<Vec<u8>>>,
    error: Option<ErrorKind>,
}

impl TestOutput {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.text.lock().clone()).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for TestOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.error {
            return Err(kind.into());
        }
        self.text.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn findings(output: &TestOutput, differences: usize, is_repaired: bool) -> Findings {
    let mut findings = Findings::new(Box::new(output.clone()));
    let difference = Difference::State { seq: Seq(6) };
    findings.report(player(5), &vec![difference; differences], is_repaired);
    findings
}

#[test]
fn lines_beyond_a_hundred_are_only_counted() {
    let output = TestOutput::default();
    let is_clean = findings(&output, 123, false).finish().expect("printed");
    assert!(!is_clean);
    let lines = output.lines();
    assert_eq!(
        lines[99],
        "player 5: the state saved at event 6 is not the fold of the events up to it"
    );
    assert_eq!(
        lines[100..],
        [
            "and 23 more",
            "streams: 0, effects of raids: 0, differences: 123, repaired: 0, failed and retried by the projector: 0",
        ]
    );
}

#[test]
fn only_what_an_append_can_mend_counts_as_repaired() {
    let output = TestOutput::default();
    let mut findings = findings(&output, 1, true);
    let first = Seq(3);
    findings.report(player(5), &[Difference::Gap { first, last: first }], true);
    assert!(!findings.finish().expect("printed"));
    let lines = output.lines();
    assert!(lines[0].ends_with("; repaired"), "{lines:?}");
    assert_eq!(lines[1], "player 5: event 3 is missing");
    assert!(
        lines[2].contains("differences: 2, repaired: 1"),
        "{lines:?}"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for (error, is_failure) in [
        (ErrorKind::BrokenPipe, false),
        (ErrorKind::StorageFull, true),
    ] {
        let output = TestOutput {
            error: Some(error),
            ..TestOutput::default()
        };
        let finished = findings(&output, 1, true).finish();
        assert_eq!(finished.is_err(), is_failure, "{error}");
    }
}
