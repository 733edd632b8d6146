//! Threads that stay on a core of their own and begin together.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::time::{ClockId, clock_gettime};

/// Number of threads that this process may pin.
pub(crate) fn core_count() -> usize {
    core_affinity::get_core_ids().map_or(0, |cores| cores.len())
}

/// Runs `work` on `threads` threads, each pinned to a core of its own, and returns their results in order.
///
/// `work` gets its thread's number, prepares itself, waits for the [`Start`], and then does what is measured.
///
/// # Panics
/// If there are fewer cores than `threads`, or `work` panics.
pub(crate) fn run<T: Send>(threads: usize, work: impl Fn(usize, &Start<'_>) -> T + Sync) -> Vec<T> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    assert!(cores.len() >= threads, "{threads} threads need as many cores, and there are {}", cores.len());
    let missing = AtomicUsize::new(threads);
    let (work, missing) = (&work, &missing);
    let on_core = |number: usize, core| {
        let start = Start { missing, arrived: Cell::new(false) };
        assert!(core_affinity::set_for_current(core), "a thread can't be pinned to core {}", core.id);
        work(number, &start)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = cores[..threads]
            .iter()
            .enumerate()
            .map(|(number, &core)| scope.spawn(move || on_core(number, core)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, T>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

/// Reads the nanoseconds for which this thread has had a processor, by the kernel's account.
///
/// Unlike time on the wall it doesn't go on while another process has the core; it tells the cost of work that never
/// waits, on a machine that has other work too.
pub(crate) fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Barrier at which a thread waits for the others. A thread that ends without waiting, by a panic too, is not waited
/// for.
pub(crate) struct Start<'a> {
    missing: &'a AtomicUsize,
    arrived: Cell<bool>,
}

impl Start<'_> {
    /// Returns when every thread has come this far: within nanoseconds of each other, for none has gone to sleep.
    pub(crate) fn wait(&self) {
        self.arrive();
        // Acquire; pairs with the Release in `arrive`: what the others have prepared is there.
        while self.missing.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
    }

    fn arrive(&self) {
        if !self.arrived.replace(true) {
            // Release; pairs with the Acquire in `wait`.
            self.missing.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        self.arrive();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_threads() {
        let threads = core_count().min(2);
        assert_eq!(run(threads, |number, _| number), (0..threads).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_starts_before_all_are_prepared() {
        let prepared = AtomicUsize::new(0);
        let threads = core_count();
        let seen = run(threads, |_, start| {
            prepared.fetch_add(1, Ordering::Relaxed);
            start.wait();
            prepared.load(Ordering::Relaxed)
        });
        assert_eq!(seen, vec![threads; threads]);
    }

    #[test]
    fn a_thread_that_sleeps_has_no_processor() {
        let before = processor_ns();
        thread::sleep(Duration::from_millis(300));
        let asleep = processor_ns() - before;
        assert!((0.0..300e6).contains(&asleep));
        let sum = (0..1_000_000_u64).map(std::hint::black_box).sum::<u64>();
        assert!(sum > 0 && processor_ns() - before > asleep);
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_ahead_of_the_start_holds_up_nobody() {
        run(core_count(), |number, start| {
            assert!(number > 0, "on purpose");
            start.wait();
        });
    }
}
