//! The load tester's monitor of itself: how late its own timers are, and how much CPU it uses.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::latency::Latency;
use crate::process::ProcessUsage;
use crate::report::TesterLoad;

const TICK: Duration = Duration::from_millis(20);

/// A running measurement of this program.
#[derive(Debug)]
pub(super) struct SelfMonitor {
    began: Instant,
    usage: ProcessUsage,
    lag: Arc<Mutex<Latency>>,
    /// The ticking task, which ends when the monitor is dropped.
    _ticker: JoinSet<()>,
}

impl SelfMonitor {
    pub(super) fn start() -> anyhow::Result<SelfMonitor> {
        let lag = Arc::new(Mutex::new(Latency::default()));
        let sink = Arc::clone(&lag);
        let mut ticker = JoinSet::new();
        ticker.spawn(async move {
            let mut due = Instant::now();
            loop {
                due += TICK;
                sleep_until(due).await;
                let late = due.elapsed();
                sink.lock()
                    .add(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
                due = due.max(Instant::now() - TICK); // after a stall, count it once
            }
        });
        Ok(SelfMonitor {
            began: Instant::now(),
            usage: ProcessUsage::current()?,
            lag,
            _ticker: ticker,
        })
    }

    pub(super) fn finish(self) -> anyhow::Result<TesterLoad> {
        let cpu = ProcessUsage::current()?.cpu.saturating_sub(self.usage.cpu);
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        Ok(TesterLoad {
            lag: self.lag.lock().percentiles(),
            cpu_cores: cpu.as_secs_f64() / self.began.elapsed().as_secs_f64(),
            cpu_cores_max: workers as f64,
        })
    }
}
