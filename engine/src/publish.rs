//! Hands the control thread's snapshots to the workers, and takes them back.
//!
//! Every worker reads the forwarding state for every packet, and now and then the control thread replaces it. A lock
//! would let the control thread stop the packets; a counted reference would have the workers write to one word of
//! memory, the very one that all of them read, and whoever counted down to zero would free a table of
//! megabytes between two bursts. What is wanted is that a worker reads one pointer per burst, writes nothing that
//! another worker reads, and frees nothing; and that the control thread learns when a snapshot that it has replaced
//! can no longer be in a worker's hands.
//!
//! Epochs tell it that. A worker is pinned from the day it subscribes and says at the top of every poll, with
//! [`Subscriber::repin`], that it has let go of what it held. Once every worker has said so twice since a snapshot
//! was replaced, no one can hold it. Two rules keep this sound, and the types hold both:
//!
//! - *What a worker reads is gone from its hands before it says so.* The snapshot is lent out of a mutable borrow of
//!   the subscriber, so the next `repin` does not compile while it is in use.
//! - *A worker never pins anew.* Taking a new pin before the old one is dropped looks like a repin and is none: the
//!   participant stays in its old epoch, and nothing is ever freed. There is one guard per subscriber, and no way
//!   to another.
//!
//! A worker that does not poll holds everything that was replaced since; so poll when there is no packet too, and
//! watch [`Publisher::unreclaimed`].
//!
//! crossbeam-epoch runs what was deferred on whichever thread happens to collect, a worker perhaps. So nothing is
//! deferred but a mark: the snapshots stay in the publisher's list, numbered in the order of their retirement, and
//! the deferred function raises `unreachable` to the number of its snapshot. The publisher frees its list up to there.
//! The publisher cannot move to another thread, so that a snapshot is freed on the thread that published it.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

#[cfg(loom)]
use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
use std::sync::atomic::AtomicU64;

use crossbeam_epoch::{Atomic, Collector, Guard, LocalHandle, Owned};
use crossbeam_utils::CachePadded;

/// Times that [`Publisher::reclaim`] tries to advance the epoch: a snapshot that was retired in an epoch is
/// unreachable two epochs later, and the first try may find the workers one behind.
const ADVANCES: usize = 3;

/// Control thread's end: replaces the snapshot, and frees the replaced ones when no worker can read them.
///
/// The publisher stays on the thread that made it, and so does the freeing:
///
/// ```compile_fail,E0277
/// # use guideway_engine::publish::Publisher;
/// let publisher = Publisher::new(1);
/// std::thread::spawn(move || drop(publisher));
/// ```
pub struct Publisher<T: Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
    participant: LocalHandle,
    /// Replaced snapshots in the order of their retirement; the last one's number is `retirements`.
    retired: VecDeque<Atomic<T>>,
    retirements: u64,
    /// Number of the last retired snapshot that no subscriber can read.
    unreachable: Arc<Mark>,
}

/// State that the publisher and its subscribers share.
struct Shared<T> {
    current: CachePadded<Atomic<T>>,
    collector: Collector,
    /// Snapshots that subscribers might still have read when the publisher was dropped.
    orphans: OnceLock<VecDeque<Atomic<T>>>,
}

/// Number up to which retired snapshots are unreachable: raised by whichever thread collects, read by the publisher.
struct Mark(AtomicU64);

impl Mark {
    /// Marks the snapshot of this number as unreachable, and with it each that was retired before it: two threads
    /// that collect may come to their marks in either order.
    fn raise(&self, number: u64) {
        // Release: pairs with the Acquire in `number`, so that all that workers have read of the snapshot happens
        // before it is freed.
        self.0.fetch_max(number, Ordering::Release);
    }

    fn number(&self) -> u64 {
        // Acquire: pairs with the Release in `raise`.
        self.0.load(Ordering::Acquire)
    }
}

impl<T: Send + Sync + 'static> Publisher<T> {
    /// Makes a publisher whose first snapshot is `snapshot`.
    pub fn new(snapshot: T) -> Self {
        let collector = Collector::new();
        Self {
            participant: collector.register(),
            shared: Arc::new(Shared {
                current: CachePadded::new(Atomic::new(snapshot)),
                collector,
                orphans: OnceLock::new(),
            }),
            retired: VecDeque::new(),
            retirements: 0,
            unreachable: Arc::new(Mark(AtomicU64::new(0))),
        }
    }

    /// Makes a feed for a worker to subscribe to; send it to the worker's thread.
    pub fn feed(&self) -> Feed<T> {
        Feed { shared: Arc::clone(&self.shared) }
    }

    /// Replaces the snapshot: each worker's next poll reads the new one.
    ///
    /// The old one is freed by this or by a later call on this publisher.
    pub fn publish(&mut self, snapshot: T) {
        let guard = self.participant.pin();
        // Release: pairs with the Acquire in `Subscriber::repin`, so that a worker that sees the pointer sees what
        // it points to.
        let replaced = self.shared.current.swap(Owned::new(snapshot), Ordering::AcqRel, &guard);
        self.retired.push_back(Atomic::from(replaced));
        self.retirements += 1;

        let number = self.retirements;
        let unreachable = Arc::clone(&self.unreachable);
        guard.defer(move || unreachable.raise(number));
        drop(guard);
        self.reclaim();
    }

    /// Frees the replaced snapshots that no worker can read any more, here and now.
    ///
    /// Call it from time to time: workers let go of a snapshot at polls that come after [`Publisher::publish`].
    pub fn reclaim(&mut self) {
        for _ in 0..ADVANCES {
            self.participant.pin().flush();
        }
        let unreachable = self.unreachable.number();
        while self.first_retired() <= unreachable {
            let Some(snapshot) = self.retired.pop_front() else {
                break;
            };
            // SAFETY: the snapshot was taken out of `current` before its mark, or that of a later one, was deferred,
            // and the mark was made: every subscriber has repinned or gone since, so none holds a reference, and
            // none can load it again. It was in `retired` alone, and left it just now, so it is freed once.
            let owned = unsafe { snapshot.into_owned() };
            drop(owned);
        }
    }

    /// Number of replaced snapshots that are not freed yet.
    ///
    /// One or two just after a publication is normal; a number that grows means that a worker does not poll.
    pub fn unreclaimed(&self) -> usize {
        self.retired.len()
    }

    /// Number of the oldest snapshot in `retired`; past the last number if there is none.
    fn first_retired(&self) -> u64 {
        self.retirements + 1 - self.retired.len() as u64
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("retirements", &self.retirements)
            .field("unreclaimed", &self.unreclaimed())
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Drop for Publisher<T> {
    /// Frees the snapshots that no subscriber can read. The others are left to the last subscriber: stop the workers
    /// first, and there are none.
    fn drop(&mut self) {
        self.reclaim();
        let orphans = std::mem::take(&mut self.retired);
        self.shared.orphans.get_or_init(|| orphans);
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let orphans = self.orphans.take().unwrap_or_default();
        let current = std::mem::take(&mut *self.current);
        for snapshot in orphans.into_iter().chain([current]) {
            // SAFETY: this is the last of the publisher, the feeds and the subscribers, each of which keeps `Shared`
            // alive, so nobody holds a reference to the snapshot. It was in `current` or in `orphans`, never in both:
            // `publish` moves it from the one to the other's origin, `retired`.
            let owned = unsafe { snapshot.into_owned() };
            drop(owned);
        }
    }
}

/// Handle by which a worker subscribes to the snapshots of a [`Publisher`].
///
/// A subscriber belongs to the thread that made it, so this is what is sent there.
pub struct Feed<T: Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + Sync + 'static> Feed<T> {
    /// Subscribes this thread.
    pub fn subscribe(&self) -> Subscriber<T> {
        // The guard keeps the participant registered after its handle is gone.
        Subscriber { guard: self.shared.collector.register().pin(), shared: Arc::clone(&self.shared) }
    }
}

impl<T: Send + Sync + 'static> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// Worker's end: reads the current snapshot, and lets go of it at every poll.
///
/// The snapshot of one poll cannot be kept beyond the next:
///
/// ```compile_fail,E0499
/// # use guideway_engine::publish::Publisher;
/// let mut subscriber = Publisher::new(1).feed().subscribe();
/// let kept = subscriber.repin();
/// let current = subscriber.repin();
/// println!("{kept} {current}");
/// ```
pub struct Subscriber<T: Send + Sync + 'static> {
    /// Pin of this subscriber, from subscription to drop. Declared before `shared`, so that it is dropped first.
    guard: Guard,
    shared: Arc<Shared<T>>,
}

impl<T: Send + Sync + 'static> Subscriber<T> {
    /// Lets go of the last poll's snapshot and returns the current one: call it at the top of every poll, empty
    /// polls too.
    #[inline]
    pub fn repin(&mut self) -> &T {
        self.guard.repin();
        // Acquire: pairs with the Release in `Publisher::publish`.
        let current = self.shared.current.load(Ordering::Acquire, &self.guard);
        // SAFETY: `current` is never null, and points to a `T` that `publish` or `new` has made. It was loaded under
        // this subscriber's pin, so it is not freed before the next `repin` or the drop of the guard, and both need
        // the subscriber mutably or by value, which the returned borrow rules out.
        unsafe { current.deref() }
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread::{self, ThreadId};
    use std::time::{Duration, Instant};

    use super::*;

    /// Snapshot that reports on which thread it was freed.
    struct Witness {
        number: usize,
        freed: Arc<Mutex<Vec<(usize, ThreadId)>>>,
    }

    impl Drop for Witness {
        fn drop(&mut self) {
            let freed = (self.number, thread::current().id());
            self.number = usize::MAX;
            self.freed.lock().expect("no test panics with the lock").push(freed);
        }
    }

    #[test]
    fn a_poll_reads_what_was_published_last() {
        let mut publisher = Publisher::new(1);
        let feed = publisher.feed();
        let mut subscriber = feed.subscribe();
        assert_eq!(*subscriber.repin(), 1);
        assert_eq!(*subscriber.repin(), 1);
        publisher.publish(2);
        publisher.publish(3);
        assert_eq!(*subscriber.repin(), 3);
        assert_eq!(*feed.subscribe().repin(), 3);
    }

    #[test]
    fn without_subscribers_a_replaced_snapshot_is_freed_at_once() {
        let mut publisher = Publisher::new(0);
        for generation in 1..100 {
            publisher.publish(generation);
            assert_eq!(publisher.unreclaimed(), 0);
        }
    }

    #[test]
    fn a_snapshot_in_a_subscribers_hands_is_not_freed() {
        let freed = Arc::default();
        let mut publisher = Publisher::new(Witness { number: 0, freed: Arc::clone(&freed) });
        let mut subscriber = publisher.feed().subscribe();
        let held = subscriber.repin();
        for number in 1..=300 {
            publisher.publish(Witness { number, freed: Arc::clone(&freed) });
        }
        assert_eq!(held.number, 0);
        assert_eq!(publisher.unreclaimed(), 300);
        assert!(freed.lock().unwrap().is_empty());
    }

    // The leak that a worker makes by taking a new pin before it drops the old one: its epoch never moves.
    #[test]
    fn a_subscriber_that_only_ever_polls_lets_everything_go() {
        let mut publisher = Publisher::new(0);
        let mut subscriber = publisher.feed().subscribe();
        for generation in 1..=1_000 {
            publisher.publish(generation);
            assert_eq!(*subscriber.repin(), generation);
            assert!(publisher.unreclaimed() <= 3, "{} snapshots are held", publisher.unreclaimed());
        }
        for _ in 0..3 {
            subscriber.repin();
            publisher.reclaim();
        }
        assert_eq!(publisher.unreclaimed(), 0);
    }

    #[test]
    fn a_subscriber_that_does_not_poll_shows_in_the_count_and_a_dropped_one_holds_nothing() {
        let mut publisher = Publisher::new(0);
        let stuck = publisher.feed().subscribe();
        let mut polling = publisher.feed().subscribe();
        for generation in 1..=10 {
            publisher.publish(generation);
            polling.repin();
        }
        assert_eq!(publisher.unreclaimed(), 10);
        drop(stuck);
        for _ in 0..3 {
            polling.repin();
            publisher.reclaim();
        }
        assert_eq!(publisher.unreclaimed(), 0);
    }

    #[test]
    fn what_is_left_is_freed_once_the_last_end_is_gone() {
        let freed = Arc::default();
        let mut publisher = Publisher::new(Witness { number: 0, freed: Arc::clone(&freed) });
        let feed = publisher.feed();
        let mut subscriber = feed.subscribe();
        let held = subscriber.repin();
        publisher.publish(Witness { number: 1, freed: Arc::clone(&freed) });
        drop(publisher);
        assert_eq!(held.number, 0);
        assert_eq!(subscriber.repin().number, 1);
        drop(feed);
        assert!(freed.lock().unwrap().is_empty());
        drop(subscriber);
        let numbers: Vec<usize> = freed.lock().unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1]);
    }

    #[test]
    fn under_load_every_snapshot_is_freed_once_by_the_publisher_and_none_is_read_afterwards() {
        const SNAPSHOTS: usize = 20_000;
        let freed: Arc<Mutex<Vec<(usize, ThreadId)>>> = Arc::default();
        let stop = AtomicBool::new(false);
        let polls = AtomicUsize::new(0);
        let mut publisher = Publisher::new(Witness { number: 0, freed: Arc::clone(&freed) });
        thread::scope(|scope| {
            for worker in 0..3 {
                let feed = publisher.feed();
                let (stop, polls) = (&stop, &polls);
                scope.spawn(move || {
                    let mut subscriber = feed.subscribe();
                    let mut last = 0;
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let number = subscriber.repin().number;
                        // A freed snapshot's number is usize::MAX.
                        assert!((last..=SNAPSHOTS).contains(&number), "{number} after {last}");
                        last = number;
                        count += 1;
                        // One worker comes and goes.
                        if worker == 0 && count % 10_000 == 0 {
                            subscriber = feed.subscribe();
                        }
                    }
                    polls.fetch_add(count, Ordering::Relaxed);
                });
            }
            for number in 1..=SNAPSHOTS {
                publisher.publish(Witness { number, freed: Arc::clone(&freed) });
            }
            // With every worker polling, what is left goes while they run.
            let deadline = Instant::now() + Duration::from_secs(60);
            while publisher.unreclaimed() > 0 && Instant::now() < deadline {
                publisher.reclaim();
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(publisher.unreclaimed(), 0);
        assert!(polls.into_inner() > 0);
        drop(publisher);

        let freed = freed.lock().unwrap();
        let publisher_thread = thread::current().id();
        assert!(freed.iter().map(|(number, _)| *number).eq(0..=SNAPSHOTS), "each once, in order");
        assert!(freed.iter().all(|(_, thread)| *thread == publisher_thread));
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p guideway-engine --lib publish --release`. The epochs are crossbeam's and
/// have its own models; the one word that is ours is modelled here.
#[cfg(all(test, loom))]
mod interleavings {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn what_is_marked_has_been_read_for_the_last_time() {
        loom::model(|| {
            let mark = Arc::new(Mark(AtomicU64::new(0)));
            let snapshots = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
            // Two threads collect, each with the last reads of one snapshot behind it. That the second has the first's
            // behind it as well is what its epoch says; here it reads both.
            let collectors = [1, 2].map(|number: usize| {
                let (mark, snapshots) = (Arc::clone(&mark), Arc::clone(&snapshots));
                thread::spawn(move || {
                    if number == 2 {
                        for snapshot in &*snapshots {
                            // SAFETY: loom checks that no write is concurrent: it is what this test is about.
                            snapshot.with(|value| assert_eq!(unsafe { *value }, 0));
                        }
                    }
                    mark.raise(number as u64);
                })
            });
            if mark.number() == 2 {
                for snapshot in &*snapshots {
                    // SAFETY: loom checks that no access is concurrent: it is what this test is about.
                    snapshot.with_mut(|value| unsafe { *value = 1 });
                }
            }
            for collector in collectors {
                collector.join().unwrap();
            }
            assert_eq!(mark.number(), 2);
        });
    }
}
