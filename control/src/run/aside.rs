//! Work beside the control thread, which may wait for a disk: each piece has a thread of its own, or is handed to whoever
//! steps it.

use std::sync::mpsc::Sender;
use std::{fmt, io, thread};

/// Way to have work done beside the control thread.
#[derive(Clone, Debug, Default)]
pub enum Aside {
    /// A thread is started for each piece of work.
    #[default]
    Threads,
    /// Work is handed over, to be done by the receiver at a time of its own: a simulation, which has one thread alone.
    Handed(Sender<Work>),
}

/// Piece of work.
pub struct Work {
    /// Name of the work, and of a thread that does it.
    pub name: &'static str,
    run: Box<dyn FnOnce() + Send>,
}

impl Work {
    /// Does the work, on the caller's thread.
    pub fn run(self) {
        (self.run)();
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Aside {
    /// Has work done. What it comes to is told by a channel of its own.
    ///
    /// # Errors
    /// Error where there is no thread for it, or nobody who takes it; the work is dropped.
    pub(super) fn begin(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        match self {
            Self::Threads => thread::Builder::new().name(name.to_owned()).spawn(run).map(drop),
            Self::Handed(taker) => {
                let gone = |_| io::Error::other("nobody takes work any more");
                taker.send(Work { name, run: Box::new(run) }).map_err(gone)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn work_is_done_by_a_thread_or_by_whoever_takes_it() {
        let (done, results) = channel();
        let told = done.clone();
        Aside::Threads
            .begin("a", move || told.send(thread::current().name().map(str::to_owned)).unwrap())
            .unwrap();
        assert_eq!(results.recv().unwrap().as_deref(), Some("a"));
        let (taker, taken) = channel();
        let aside = Aside::Handed(taker);
        let told = done.clone();
        aside.begin("b", move || told.send(None).unwrap()).unwrap();
        let work: Work = taken.try_recv().unwrap();
        assert!(work.name == "b" && results.try_recv().is_err(), "nobody has done it yet");
        work.run();
        assert_eq!(results.try_recv(), Ok(None));
        drop(taken);
        assert!(aside.begin("c", || ()).is_err());
    }
}
