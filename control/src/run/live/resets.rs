//! Resets of devices, on a thread of their own, one at a time: a driver may wait for its PF for seconds.

use std::cell::RefCell;
use std::io;
use std::sync::mpsc::{self, TryRecvError};
use std::thread::{Builder, Scope};

use guideway_engine::driver::dpdk::{Reset, ResetOutcome};

/// Control thread's end of the thread that resets devices. The thread ends with it.
pub(super) struct Resets<'eal> {
    begun: mpsc::Sender<(usize, Reset<'eal>)>,
    ended: mpsc::Receiver<(usize, ResetOutcome)>,
    /// Outcomes that nobody has taken, by the index of the port.
    outcomes: RefCell<Vec<(usize, ResetOutcome)>>,
}

impl<'eal> Resets<'eal> {
    /// Starts the thread.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Self>
    where
        'eal: 'scope,
    {
        let (begun, jobs) = mpsc::channel::<(usize, Reset<'eal>)>();
        let (outcome, ended) = mpsc::channel();
        let work = move || {
            for (port, reset) in jobs {
                if outcome.send((port, reset.run())).is_err() {
                    return;
                }
            }
        };
        Builder::new().name("resets".to_owned()).spawn_scoped(scope, work)?;
        Ok(Self { begun, ended, outcomes: RefCell::default() })
    }

    /// Hands a reset of a port over to the thread.
    pub(super) fn begin(&self, port: usize, reset: Reset<'eal>) -> Result<(), String> {
        self.begun.send((port, reset)).map_err(|_| gone())
    }

    /// Takes the outcome of a port's reset, once there is one.
    pub(super) fn take(&self, port: usize) -> Option<Result<ResetOutcome, String>> {
        let mut outcomes = self.outcomes.borrow_mut();
        loop {
            if let Some(index) = outcomes.iter().position(|(of_port, _)| *of_port == port) {
                return Some(Ok(outcomes.swap_remove(index).1));
            }
            match self.ended.try_recv() {
                Ok(outcome) => outcomes.push(outcome),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(Err(gone())),
            }
        }
    }
}

fn gone() -> String {
    "the thread that resets devices has ended: restart the appliance".to_owned()
}
