//! The tasks of an instance, and the tokens that end them.

use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use crate::task_group::TaskGroup;

/// The tasks of an instance, in the order in which a shutdown ends them.
#[derive(Default)]
pub(crate) struct InstanceTasks {
    pub(super) http: TaskGroup,
    pub(super) connections: TaskGroup,
    pub(super) background: TaskGroup,
    pub(crate) sessions: TaskGroup,
    pub(super) journal: TaskGroup,
    pub(super) bus: TaskGroup,
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
