//! Being told to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// The exit code of a process that was told twice: as a shell gives it for an interrupt.
const SECOND_SIGNAL_EXIT_CODE: i32 = 130;

/// Listens for SIGTERM and SIGINT from this call on, and gives the wait for either. After the first, a second one ends
/// the process at once.
pub(super) fn shutdown_signal() -> impl Future<Output = ()> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async move {
        let (Ok(terminate), Ok(interrupt)) = signals else {
            warn!("signals cannot be received; only a kill stops this process");
            return std::future::pending().await;
        };
        wait_for_signals(terminate, interrupt).await;
    }
}

async fn wait_for_signals(mut terminate: Signal, mut interrupt: Signal) {
    wait_for_either(&mut terminate, &mut interrupt).await;
    info!("told to stop; once more stops at once");
    let twice = std::thread::Builder::new().name("second-signal".into());
    // A runtime of its own: whatever keeps the server's busy must not keep this from being heard.
    let listening = twice.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(wait_for_either(&mut terminate, &mut interrupt));
            std::process::exit(SECOND_SIGNAL_EXIT_CODE);
        }
    });
    if let Err(error) = listening {
        warn!(%error, "a second signal will not be heard");
    }
}

async fn wait_for_either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
