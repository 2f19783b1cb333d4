//! Groups of tasks. Each task of an instance belongs to one, so that shutdown can wait for it.

#[cfg(test)]
pub(crate) mod process;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Tasks that are waited for together. Clones share the group.
#[derive(Debug, Clone, Default)]
pub struct TaskGroup(TaskTracker);

impl TaskGroup {
    /// Runs a task in this group. In a simulation, a task belongs to the process of the task that
    /// spawned it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        #[cfg(test)]
        let task = process::run_in_current(task);
        self.0.spawn(task)
    }

    /// Returns how many tasks have not ended.
    pub fn task_count(&self) -> usize {
        self.0.len()
    }

    /// Waits until the last task has ended. The group gets no tasks from then on.
    pub async fn close_and_wait(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
