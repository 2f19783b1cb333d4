//! A guard for gauges that count what exists now.

use metrics::Gauge;

/// Counts one in a gauge for as long as it lives: through early returns, cancelled tasks and panics.
///
/// ```
/// # use raidhall::telemetry::{GaugeGuard, metrics};
/// let open = GaugeGuard::increment(&metrics().connections);
/// # drop(open);
/// ```
#[must_use = "it counts only while it is held"]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    /// Adds one to `gauge` until the guard is dropped.
    pub fn increment(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{metrics, render_metrics};
    use super::*;

    #[test]
    fn a_gauge_guard_decrements_when_its_holder_panics() {
        // Only this test uses the gauge. The metrics are touched first, so that the recorder is
        // installed.
        let _ = metrics();
        let held = GaugeGuard::increment(&::metrics::gauge!("held_by_a_test"));
        assert!(render_metrics().contains("\nheld_by_a_test 1\n"));
        let panicked = std::thread::spawn(move || {
            let _held = held;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(render_metrics().contains("\nheld_by_a_test 0\n"));
    }
}
