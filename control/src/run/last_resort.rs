//! Last resort of a stop: ends the process if something hangs beyond its deadline.
//!
//! A thread hears the signals by itself, so that a control thread that hangs in a driver, a worker that never polls again or a
//! file system without a server cannot keep the process. The guard, which outlives it, then withdraws what routers were told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing::Level;

use crate::log::Log;

/// Longest time that a stop may take: withdrawals, the state file, open requests and devices fit well in it, and systemd's
/// unit waits for 30 s.
pub const STOP_TIME: Duration = Duration::from_secs(25);

/// Longest wait until the last line of the log is read.
const LAST_LINE_TIME: Duration = Duration::from_millis(500);

/// Watch over the end of the process, and what its signals have asked for. Without its thread, it knows what it is told.
#[derive(Clone, Debug, Default)]
pub struct LastResort(Arc<Heard>);

/// Signals that have come.
#[derive(Debug, Default)]
struct Heard {
    stops: AtomicBool,
    reloads: AtomicBool,
    /// Begins the deadline.
    begin: Notify,
}

impl LastResort {
    /// Starts the thread, which hears SIGTERM, SIGINT and SIGHUP from now on.
    ///
    /// # Errors
    /// Error where the operating system gives no thread or no signals.
    pub fn start(log: Log) -> io::Result<Self> {
        let last_resort = Self::default();
        let heard = last_resort.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _context = runtime.enter();
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
        };
        let [terminate, interrupt, hang_up] = signals;
        let (mut terminate, mut interrupt, mut hang_up) = (terminate?, interrupt?, hang_up?);
        let watch = async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    () = heard.0.begin.notified() => break,
                    _ = hang_up.recv() => heard.ask_to_reload(),
                }
            }
            heard.ask_to_stop();
            // The process ends before, unless something hangs.
            tokio::time::sleep(STOP_TIME).await;
            let seconds = STOP_TIME.as_secs();
            log.say(
                Level::ERROR,
                format!("the appliance has not stopped within {seconds} s, as something hangs: it is killed"),
            );
            log.flush(LAST_LINE_TIME);
            let _ = kill_process(getpid(), Signal::KILL);
        };
        thread::Builder::new().name("last-resort".to_owned()).spawn(move || runtime.block_on(watch))?;
        Ok(last_resort)
    }

    /// Begins the deadline, where no signal has.
    pub fn begin(&self) {
        self.0.begin.notify_one();
    }

    /// Asks for a stop, as a signal does.
    pub fn ask_to_stop(&self) {
        // Relaxed: it carries nothing but itself, as does the other word.
        self.0.stops.store(true, Ordering::Relaxed);
    }

    /// Asks for a reload, as a signal does.
    pub fn ask_to_reload(&self) {
        self.0.reloads.store(true, Ordering::Relaxed);
    }

    /// True if a signal has asked for a stop, whether the control thread has heard it or not.
    pub fn was_asked_to_stop(&self) -> bool {
        self.0.stops.load(Ordering::Relaxed)
    }

    /// True if a signal has asked for a reload since the last call.
    pub fn take_reload(&self) -> bool {
        self.0.reloads.swap(false, Ordering::Relaxed)
    }
}
