//! A thread that serves in a namespace until its value is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::namespace::Namespace;

/// Time that a server may wait for a packet before it checks if it must end.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// One thread that serves; it ends with the value.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what `open` opens in the namespace: calls `serve` again and again, which returns every [`PAUSE`].
    pub(crate) fn start<T: Send + 'static>(
        namespace: &Namespace,
        open: impl FnOnce() -> T + Send,
        serve: impl Fn(&mut T) + Send + 'static,
    ) -> Self {
        // Sockets stay in the namespace in which they were opened.
        let mut opened = namespace.inside(open);
        let stop = Arc::new(AtomicBool::new(false));
        let must_stop = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Relaxed: the flag carries nothing but itself.
            while !must_stop.load(Ordering::Relaxed) {
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
            panic!("a server of the lab has failed");
        }
    }
}
