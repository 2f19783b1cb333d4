//! Simulated processes: several instances run on one thread, and each can pause, go on and die alone.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;

tokio::task_local! {
    static CURRENT: Process;
}

/// A process: the tasks of one instance. Clones are handles to the same process.
#[derive(Clone, Default)]
pub(crate) struct Process(Arc<Mutex<ProcessState>>);

#[derive(Default)]
struct ProcessState {
    status: ProcessStatus,
    /// The tasks that have not ended, by the order in which they began, and how to wake each.
    tasks: BTreeMap<u64, Waker>,
    tasks_started: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ProcessStatus {
    #[default]
    Running,
    /// No task runs, while time goes on.
    Paused,
    Dead,
}

impl Process {
    /// Stops every task where it is, or lets all go on.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.set_status(if is_paused {
            ProcessStatus::Paused
        } else {
            ProcessStatus::Running
        });
    }

    /// Ends every task where it is, for good, as `kill -9` does.
    pub(crate) fn kill(&self) {
        self.set_status(ProcessStatus::Dead);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().status == ProcessStatus::Dead
    }

    /// Returns how many tasks have not ended.
    pub(crate) fn task_count(&self) -> usize {
        self.0.lock().tasks.len()
    }

    /// Runs a task in this process. Returns nothing if the process dies first.
    pub(crate) fn run<F>(&self, task: F) -> impl Future<Output = Option<F::Output>> + Send + use<F>
    where
        F: Future + Send + 'static,
    {
        let task_of_process = TaskOfProcess {
            process: self.clone(),
            number: self.new_task(),
            task: Some(task.boxed()),
        };
        CURRENT.scope(self.clone(), task_of_process)
    }

    /// Calls a function that may spawn tasks of this process.
    pub(crate) fn enter<T>(&self, call: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), call)
    }

    fn new_task(&self) -> u64 {
        let mut state = self.0.lock();
        state.tasks_started += 1;
        let number = state.tasks_started;
        state.tasks.insert(number, Waker::noop().clone());
        number
    }

    fn set_status(&self, status: ProcessStatus) {
        let wakers: Vec<_> = {
            let mut state = self.0.lock();
            if state.status == status || state.status == ProcessStatus::Dead {
                return;
            }
            state.status = status;
            state.tasks.values().cloned().collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }
}

/// Puts a task into the process of the task that calls this, if it is one of a process.
pub(super) fn run_in_current(
    task: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, ()> {
    match CURRENT.try_get() {
        // A task that dies has no output.
        Ok(process) => process.run(task).map(Option::unwrap_or_default).boxed(),
        Err(_) => task.boxed(),
    }
}

struct TaskOfProcess<T> {
    process: Process,
    number: u64,
    task: Option<BoxFuture<'static, T>>,
}

impl<T> Future for TaskOfProcess<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let status = {
            let mut state = self.process.0.lock();
            state.tasks.insert(self.number, cx.waker().clone());
            state.status
        };
        match (&mut self.task, status) {
            (Some(task), ProcessStatus::Running) => task.poll_unpin(cx).map(Some),
            (_, ProcessStatus::Paused) => Poll::Pending,
            (task, _) => {
                *task = None;
                Poll::Ready(None)
            }
        }
    }
}

impl<T> Drop for TaskOfProcess<T> {
    fn drop(&mut self) {
        self.process.0.lock().tasks.remove(&self.number);
    }
}

mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::task_group::TaskGroup;

    /// Starts a task that counts seconds, as a task of another task.
    async fn count_seconds(count: Arc<AtomicU64>) {
        TaskGroup::default().spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_pauses_goes_on_and_dies_with_all_of_its_tasks() {
        let process = Process::default();
        let count = Arc::<AtomicU64>::default();
        let seconds = |expected| {
            assert_eq!(count.load(Ordering::Relaxed), expected);
            sleep(Duration::from_secs(10))
        };
        sleep(Duration::from_millis(500)).await;
        process.enter(|| TaskGroup::default().spawn(count_seconds(Arc::clone(&count))));
        seconds(0).await;
        process.set_paused(true);
        seconds(9).await;
        process.set_paused(false);
        seconds(9).await;
        assert_eq!(process.task_count(), 1);
        process.kill();
        seconds(19).await;
        seconds(19).await;
        assert_eq!(process.task_count(), 0);
        assert_eq!(process.run(async {}).await, None);
    }
}
