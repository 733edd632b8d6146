//! Virtual time: the paused clock of tokio, which the engine's clock follows.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::Instant;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Time since the simulation on this thread began; zero where none runs.
pub fn elapsed() -> Duration {
    START.get().map_or(Duration::ZERO, |start| start.elapsed())
}

/// Moment of tokio's clock at this time of the simulation.
pub fn moment(at: Duration) -> Instant {
    START.get().unwrap_or_else(Instant::now) + at
}

/// Runs a simulation from time zero; it goes on to the next timer whenever nobody has anything to do.
///
/// # Panics
/// If the operating system has no event queue.
pub fn run<T>(simulation: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("the system has an event queue");
    LocalSet::new().block_on(&runtime, async {
        START.set(Some(Instant::now()));
        simulation.await
    })
}
