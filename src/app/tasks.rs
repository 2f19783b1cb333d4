//! The tasks of an instance, and the tokens that end them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};

/// The tasks of an instance, in the order in which a shutdown ends them.
#[derive(Default)]
pub(crate) struct InstanceTasks {
    pub(super) http: TaskTracker,
    pub(super) connections: TaskTracker,
    pub(super) background: TaskTracker,
    pub(crate) sessions: TaskTracker,
    pub(super) journal: TaskTracker,
    pub(super) bus: TaskTracker,
    /// Ends the accept loop when it is cancelled.
    pub(super) stop_accepting: CancellationToken,
    /// Ends background tasks at once, and sessions as soon as they have nothing in flight.
    pub(crate) stop_background: CancellationToken,
    /// Ends the connections to the bus when it is cancelled.
    pub(super) stop_bus: CancellationToken,
}

/// Cancels the tasks, so that an instance that was not shut down leaves none running.
impl Drop for InstanceTasks {
    fn drop(&mut self) {
        self.stop_accepting.cancel();
        self.stop_background.cancel();
        self.stop_bus.cancel();
    }
}

impl InstanceTasks {
    /// Runs a background task in a span of this name until [`InstanceTasks::stop_background`] is
    /// cancelled.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.stop_background.clone();
        let task = async move {
            let _ = stop.run_until_cancelled(task).await;
        };
        self.background
            .spawn(task.instrument(info_span!("background", name)));
    }
}
