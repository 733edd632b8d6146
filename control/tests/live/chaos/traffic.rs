//! Traffic of the chaos: connections that are kept all the time, downloads whose contents are checked, and new connections.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::fault::Fault;
use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::conversation::{Conversation, Download};
use crate::lab::patience::{PATIENCE, within};

/// Connections that are kept from the first fault to the last: each of three backends has some.
const CONVERSATIONS: usize = 24;
/// Downloads that go on at once.
const DOWNLOADS: usize = 2;
/// Pause between two requests, and between two pieces of a download: the appliance's core has others on it.
const PAUSE: Duration = Duration::from_millis(20);

/// Counts that grow while traffic flows.
#[derive(Debug, Default)]
struct Counts {
    answers: AtomicU64,
    downloads: AtomicU64,
    connections: AtomicU64,
    must_stop: AtomicBool,
    must_rest: AtomicBool,
    /// Threads that rest.
    resting: AtomicUsize,
    /// First fault of a connection, in words.
    hurt: Mutex<Option<String>>,
}

/// Traffic, by threads that end with it.
pub(super) struct Traffic {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

/// Requests, downloads and connections that were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served([u64; 3]);

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [answers, downloads, connections] = self.0;
        write!(f, "{answers} answers, {downloads} downloads, {connections} new connections")
    }
}

impl Counts {
    fn served(&self) -> Served {
        // Relaxed: each carries nothing but itself.
        Served([&self.answers, &self.downloads, &self.connections].map(|count| count.load(Ordering::Relaxed)))
    }

    fn must_stop(&self) -> bool {
        self.must_stop.load(Ordering::Relaxed)
    }

    /// Pauses between two requests, for as long as traffic rests.
    fn pause(&self, time: Duration) {
        thread::sleep(time);
        if self.must_rest.load(Ordering::Relaxed) {
            self.resting.fetch_add(1, Ordering::Relaxed);
            while self.must_rest.load(Ordering::Relaxed) && !self.must_stop() {
                thread::sleep(PAUSE);
            }
            self.resting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn note(&self, what: &str, result: Result<(), String>, count: &AtomicU64) {
        match result {
            Ok(()) => drop(count.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                let mut hurt = self.hurt.lock().expect("no thread panics with it");
                hurt.get_or_insert_with(|| format!("{what}: {error}"));
                self.must_stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Traffic {
    /// Opens the connections, which every backend serves some of, and begins to use them.
    pub(super) fn start(lab: &Lab) -> Self {
        let vip = Vip::OnLink.web(Family::V4);
        let counts = Arc::new(Counts::default());
        let mut threads = Vec::new();
        let mut kept = Conversation::several(lab, vip, CONVERSATIONS);
        for backend in 0..super::scene::BACKENDS {
            let name = format!("b{backend}");
            assert!(kept.iter().any(|(_, who)| *who == name), "{name} has connections to lose");
        }
        let of_kept = Arc::clone(&counts);
        threads.push(thread::spawn(move || {
            for index in (0..CONVERSATIONS).cycle() {
                if of_kept.must_stop() {
                    break;
                }
                let (conversation, who) = &mut kept[index];
                of_kept.note("a kept connection", asked(conversation, who), &of_kept.answers);
                of_kept.pause(PAUSE);
            }
        }));
        for (conversation, who) in Conversation::several(lab, vip, DOWNLOADS) {
            let counts = Arc::clone(&counts);
            threads.push(thread::spawn(move || download(&counts, conversation, &who)));
        }
        let (of_new, door) = (Arc::clone(&counts), lab.client().door());
        threads.push(thread::spawn(move || {
            door.enter();
            while !of_new.must_stop() {
                of_new.note("a new connection", connect(vip), &of_new.connections);
                of_new.pause(PAUSE * 5);
            }
        }));
        Self { counts, threads }
    }

    /// Checks that no connection has ended, and none has got anything else than was asked for.
    pub(super) fn assert_unhurt(&self, after: Fault) {
        let hurt = self.counts.hurt.lock().expect("no thread panics with it").clone();
        assert_eq!(hurt, None, "after {after:?}");
    }

    /// Waits until each kind of traffic has been served again, and each kept connection too.
    pub(super) fn goes_on(&self) -> Served {
        let Served([answers, downloads, connections]) = self.counts.served();
        let later = [answers + CONVERSATIONS as u64 + 1, downloads + 1, connections + 1];
        let all = || {
            let Served(now) = self.counts.served();
            let hurt = self.counts.must_stop();
            (hurt || now.iter().zip(later).all(|(now, later)| *now >= later)).then_some(())
        };
        let found = within(PATIENCE * 2, all);
        self.assert_unhurt(Fault::Kill);
        found.expect("traffic goes on");
        self.counts.served()
    }

    /// Does something while no request is made.
    pub(super) fn at_rest<T>(&self, work: impl FnOnce() -> T) -> T {
        self.counts.must_rest.store(true, Ordering::Relaxed);
        let all = || (self.counts.resting.load(Ordering::Relaxed) == self.threads.len()).then_some(());
        // After faults in a row, a retransmission waits for many seconds.
        within(PATIENCE * 2, all).expect("every thread rests after its request");
        let result = work();
        self.counts.must_rest.store(false, Ordering::Relaxed);
        result
    }

    /// Ends the traffic, which is unhurt.
    pub(super) fn finish(mut self) {
        self.counts.must_stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread of the traffic");
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.counts.must_stop.store(true, Ordering::Relaxed);
    }
}

/// Asks for the backend at the other end of a connection, which is to be the one of before.
fn asked(conversation: &mut Conversation, who: &str) -> Result<(), String> {
    match conversation.who() {
        Ok(now) if now == who => Ok(()),
        Ok(now) => Err(format!("it has gone from {who} to {now}")),
        Err(error) => Err(format!("it ends at {who}: {error}")),
    }
}

/// Gets the large file again and again by one connection; its contents are compared.
fn download(counts: &Counts, mut conversation: Conversation, who: &str) {
    while !counts.must_stop() {
        let mut file: Download = conversation.download();
        loop {
            match file.go_on() {
                Ok(true) => counts.pause(PAUSE),
                Ok(false) => break,
                Err(error) => {
                    return counts.note(
                        "a download",
                        Err(format!("it ends at {who}: {error}")),
                        &counts.downloads,
                    );
                }
            }
        }
        counts.note("a download", Ok(()), &counts.downloads);
        conversation = file.finish().expect("it is read to its end");
    }
}

/// Opens a connection, asks for a page by it, and closes it.
fn connect(vip: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect_timeout(&vip, PATIENCE).map_err(|error| format!("connect: {error}"))?;
    Conversation::by(stream).who().map(drop).map_err(|error| format!("request: {error}"))
}
