//! A thread that serves in a namespace until its value is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::namespace::Namespace;

/// How long a server may wait for a packet before it looks whether it is to end.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what `open` has opened: `serve` is called again and again, and comes back every [`PAUSE`].
    pub(crate) fn start<T: Send + 'static>(
        namespace: &Namespace,
        open: impl FnOnce() -> T + Send,
        serve: impl Fn(&mut T) + Send + 'static,
    ) -> Self {
        // Sockets stay in the namespace that they were opened in.
        let mut opened = namespace.inside(open);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Relaxed: the flag carries nothing but itself.
            while !told.load(Ordering::Relaxed) {
                serve(&mut opened);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !thread::panicking() {
            panic!("a server of the bench has failed");
        }
    }
}
