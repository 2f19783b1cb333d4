//! The signals that stop the process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// The exit code after a second signal: the one that a shell reports for an interrupted process
/// (128 + SIGINT).
const SECOND_SIGNAL_EXIT_CODE: i32 = 130;

/// Listens for SIGTERM and SIGINT from this call on, and returns a future that completes at the
/// first one. A second signal then ends the process at once.
pub(super) fn shutdown_signal() -> impl Future<Output = ()> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async move {
        let (Ok(terminate), Ok(interrupt)) = signals else {
            warn!("listening for signals failed; a signal ends this process without a drain");
            return std::future::pending().await;
        };
        wait_for_signals(terminate, interrupt).await;
    }
}

async fn wait_for_signals(mut terminate: Signal, mut interrupt: Signal) {
    wait_for_either(&mut terminate, &mut interrupt).await;
    info!("told to stop by a signal; a second one ends the process at once");
    let thread = std::thread::Builder::new().name("second-signal".into());
    // A thread and runtime of its own receive the second signal even if the server's runtime is
    // stuck.
    let listening = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(wait_for_either(&mut terminate, &mut interrupt));
            std::process::exit(SECOND_SIGNAL_EXIT_CODE);
        }
    });
    if let Err(error) = listening {
        warn!(%error, "starting the thread for a second signal failed; a second signal is ignored");
    }
}

async fn wait_for_either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! { biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
