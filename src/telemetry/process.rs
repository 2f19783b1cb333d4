//! Resources of the process, read from `/proc` (Linux). Elsewhere the gauges stay 0.

use std::fs;

use super::metrics;

/// Page size in which `statm` counts, on every supported machine.
const PAGE_BYTES: u64 = 4096;

/// Reads memory and open files, and sets the gauges.
pub(super) fn sample_process() {
    if let Some(pages) = resident_pages() {
        metrics().memory.set((pages * PAGE_BYTES) as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        metrics().open_files.set(files.count() as f64);
    }
}

/// Returns the second number of `statm` (proc(5)): the resident pages.
fn resident_pages() -> Option<u64> {
    fs::read_to_string("/proc/self/statm")
        .ok()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}
