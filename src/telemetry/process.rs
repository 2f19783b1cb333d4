//! What the process holds of its machine, where `/proc` tells (Linux). Elsewhere the gauges stay 0.

use std::fs;

use super::metrics;

/// What `statm` counts in, on every machine that we build for.
const PAGE_BYTES: u64 = 4096;

/// Looks, and sets the gauges.
pub(super) fn sample_process() {
    if let Some(pages) = resident_pages() {
        metrics().memory.set((pages * PAGE_BYTES) as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        metrics().open_files.set(files.count() as f64);
    }
}

/// The second number of `statm` (proc(5)).
fn resident_pages() -> Option<u64> {
    fs::read_to_string("/proc/self/statm")
        .ok()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}
