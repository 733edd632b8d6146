//! Reader of configurations: a thread of its own reads, parses and prepares what reloads ask for, one at a time.
//!
//! ```text
//!  SIGHUP, `reload` ──▶ askers ──▶ a thread: files ─▶ Config ──▶ control thread: is it another one?
//!                                  a thread: lookup tables  ◀──────────┘
//!                                       └──▶ control thread: taken over, askers answered
//! ```
//!
//! Askers that come while files are read wait for the next read, which sees what they have written; one read answers all of
//! them. A read that hangs, as on a file system whose server is gone, is given up: its askers are refused, the running
//! configuration stays, and what comes of the read later is thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use guideway_model::forwarding_state::{Preparation, Prepared};

use super::config_source::{ConfigSource, Loaded};
use crate::api::request::{Refused, Reply};
use crate::api::view;
use crate::run::aside::Aside;

/// Longest time that files are read for; an operator's request waits for half a minute. To parse what was read takes a time
/// that is bounded by its size.
pub(super) const READ_TIME: Duration = Duration::from_secs(20);

/// Reader, and those who wait for it.
#[derive(Debug, Default)]
pub(super) struct ConfigReader {
    aside: Aside,
    job: Option<Job>,
    /// Askers of the next read.
    waiting: Option<Askers>,
}

/// Askers of one reload: signals, and requests that wait for their answers.
#[derive(Debug)]
pub(super) struct Askers {
    /// Time of the first of them.
    since: Duration,
    /// True if one of them means removals of every rule, or of most backends.
    pub(super) confirms_removals: bool,
    /// True if one of them is a signal, which has no answer.
    has_hung_up: bool,
    replies: Vec<Reply<view::Reload>>,
}

/// Work of a thread.
#[derive(Debug)]
struct Job {
    done: Receiver<Done>,
    /// Askers; none of a read that was given up.
    askers: Option<Askers>,
    /// True once files are read.
    has_read: Arc<AtomicBool>,
}

/// Result of a thread.
#[derive(Debug)]
enum Done {
    Read(Box<Result<Loaded, Refused>>),
    Prepared(Box<Loaded>, Prepared),
}

/// Finding for those who have asked.
#[derive(Debug)]
pub(super) enum Finding {
    /// Configuration that was read, or the error in it.
    Read(Result<Loaded, Refused>),
    /// Configuration whose lookup tables are made.
    Prepared(Loaded, Prepared),
}

impl Askers {
    /// Sends the answer to all requests.
    pub(super) fn answer(self, reload: &Result<view::Reload, Refused>) {
        for reply in self.replies {
            // A client that is gone takes no answer.
            let _ = reply.send(reload.clone());
        }
    }
}

impl ConfigReader {
    /// A reader whose work is done this way.
    pub(super) fn new(aside: Aside) -> Self {
        Self { aside, ..Self::default() }
    }

    /// Has the configuration read for a request, or for a signal, which waits for no reply.
    pub(super) fn ask(&mut self, reply: Option<Reply<view::Reload>>, confirms_removals: bool, now: Duration) {
        let new = || Askers { since: now, confirms_removals: false, has_hung_up: false, replies: Vec::new() };
        let waiting = self.waiting.get_or_insert_with(new);
        waiting.confirms_removals |= confirms_removals;
        waiting.has_hung_up |= reply.is_none();
        waiting.replies.extend(reply);
    }

    /// Takes in what a thread has come to, gives up one that hangs, and begins the next read.
    pub(super) fn poll(&mut self, source: &ConfigSource, now: Duration) -> Option<(Askers, Finding)> {
        let is_late = |askers: &mut Askers| now.saturating_sub(askers.since) >= READ_TIME;
        if let Some(job) = &mut self.job {
            let done = match job.done.try_recv() {
                Ok(done) => done,
                Err(TryRecvError::Disconnected) => {
                    Done::Read(Box::new(Err(unreadable(source, "its reader has failed"))))
                }
                // Relaxed: it carries nothing but itself.
                Err(TryRecvError::Empty) if job.has_read.load(Ordering::Relaxed) => return None,
                Err(TryRecvError::Empty) => {
                    // Askers who came after a read was given up are told the same.
                    let late = job.askers.take_if(is_late).or_else(|| self.waiting.take_if(is_late))?;
                    return Some((late, Finding::Read(Err(unanswered(source, READ_TIME)))));
                }
            };
            let askers = job.askers.take();
            self.job = None;
            if let Some(askers) = askers {
                return Some((askers, Finding::from(done)));
            }
        }
        let mut askers = self.waiting.take()?;
        // The read begins now. Askers who wait for one that hangs are counted from when they asked.
        askers.since = now;
        let own_source = source.clone();
        let has_hung_up = askers.has_hung_up;
        let work = move |has_read: &AtomicBool| {
            let note_read = || has_read.store(true, Ordering::Relaxed);
            let read = own_source.read(note_read);
            // A request's answer has it. To write it takes a while, where lines are long.
            if let Err(Refused::Config(errors)) = &read
                && has_hung_up
            {
                tracing::error!("what is wrong with the configuration:\n{}", errors.render(false));
            }
            Done::Read(Box::new(read))
        };
        self.begin(askers, "config-reader", false, work)
            .map(|askers| (askers, Finding::Read(Err(unreadable(source, "no thread can be started")))))
    }

    /// Has a thread make what a configuration needs, from a copy of the state. Returns the askers where there is no thread.
    pub(super) fn prepare(
        &mut self,
        askers: Askers,
        loaded: Loaded,
        copy: Preparation,
        now: Duration,
    ) -> Option<Askers> {
        let make = move |_: &AtomicBool| {
            let prepared = copy.make(loaded.config.clone(), now);
            Done::Prepared(Box::new(loaded), prepared)
        };
        self.begin(askers, "config-maker", true, make)
    }

    /// True while somebody waits for what a thread comes to.
    pub(super) fn is_busy(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.askers.is_some())
    }

    /// Refuses those who wait: the appliance stops.
    pub(super) fn end(&mut self) {
        (self.job, self.waiting) = (None, None);
    }

    /// Starts a thread; returns the askers where there is none.
    fn begin(
        &mut self,
        askers: Askers,
        name: &'static str,
        has_read: bool,
        work: impl FnOnce(&AtomicBool) -> Done + Send + 'static,
    ) -> Option<Askers> {
        let (send, done) = channel();
        let has_read = Arc::new(AtomicBool::new(has_read));
        let told = Arc::clone(&has_read);
        let run = move || {
            // The supervisor may have ended.
            let _ = send.send(work(&told));
        };
        if let Err(error) = self.aside.begin(name, run) {
            tracing::error!("cannot reload: no thread can be started: {error}");
            return Some(askers);
        }
        self.job = Some(Job { done, askers: Some(askers), has_read });
        None
    }
}

impl From<Done> for Finding {
    fn from(done: Done) -> Self {
        match done {
            Done::Read(read) => Self::Read(*read),
            Done::Prepared(loaded, prepared) => Self::Prepared(*loaded, prepared),
        }
    }
}

/// Refusal of a read that has hung for this time.
pub(super) fn unanswered(source: &ConfigSource, hung: Duration) -> Refused {
    unreadable(source, &format!("its file system has not answered for {} s", hung.as_secs()))
}

/// Refusal of a read that has failed.
pub(super) fn unreadable(source: &ConfigSource, error: &str) -> Refused {
    Refused::ConfigUnreadable { path: source.path().to_owned(), error: error.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    use tokio::sync::oneshot;

    use guideway_model::config::Config;

    use super::*;

    const fn sec(sec: u64) -> Duration {
        Duration::from_secs(sec)
    }

    /// Polls until something is found.
    fn found(reader: &mut ConfigReader, source: &ConfigSource, now: Duration) -> (Askers, Finding) {
        let end = Instant::now() + sec(60);
        loop {
            if let Some(found) = reader.poll(source, now) {
                return found;
            }
            assert!(Instant::now() < end, "nothing is found");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn source(path: &Path) -> ConfigSource {
        ConfigSource::new(path.to_owned(), None, &Config::parse("guideway.toml", "").expect("it is right"))
    }

    /// Reader whose thread waits until the sender is dropped.
    fn hanging(reader: &mut ConfigReader, now: Duration) -> std::sync::mpsc::Sender<()> {
        let (go, wait) = channel::<()>();
        reader.ask(None, false, now);
        let askers = reader.waiting.take().expect("it has just asked");
        let work = move |_: &AtomicBool| {
            let _ = wait.recv();
            Done::Read(Box::new(Err(Refused::Stopping)))
        };
        assert!(reader.begin(askers, "test", false, work).is_none());
        go
    }

    #[test]
    fn those_who_come_during_a_read_share_the_next_one() {
        let source = source(Path::new("/nonexistent/guideway.toml"));
        let mut reader = ConfigReader::default();
        let go = hanging(&mut reader, sec(0));
        let mut replies = Vec::new();
        for number in 0..100 {
            let (reply, replied) = oneshot::channel();
            reader.ask(Some(reply), number == 50, sec(1));
            reader.ask(None, false, sec(1));
            replies.push(replied);
        }
        assert!(reader.poll(&source, sec(2)).is_none(), "one read at a time");
        drop(go);
        let (first, _) = found(&mut reader, &source, sec(2));
        assert!(first.replies.is_empty() && !first.confirms_removals);
        let (askers, finding) = found(&mut reader, &source, sec(2));
        assert!(askers.confirms_removals && askers.has_hung_up);
        let Finding::Read(Err(refused)) = finding else { panic!("{finding:?}") };
        askers.answer(&Err(refused));
        for replied in replies {
            assert!(matches!(replied.blocking_recv(), Ok(Err(Refused::ConfigUnreadable { .. }))));
        }
        assert!(reader.poll(&source, sec(3)).is_none() && reader.job.is_none(), "all are served");
    }

    #[test]
    fn a_read_that_hangs_is_given_up_and_its_result_thrown_away() {
        let source = source(Path::new("/nonexistent/guideway.toml"));
        let mut reader = ConfigReader::default();
        let go = hanging(&mut reader, sec(0));
        assert!(reader.poll(&source, sec(19)).is_none());
        let (askers, finding) = reader.poll(&source, sec(20)).expect("it is late");
        assert!(
            askers.has_hung_up && format!("{finding:?}").contains("has not answered for 20 s"),
            "{finding:?}"
        );
        reader.ask(None, true, sec(30));
        assert!(reader.poll(&source, sec(49)).is_none(), "the thread still hangs");
        let (later, _) = reader.poll(&source, sec(50)).expect("it is late too");
        assert!(later.confirms_removals);
        reader.ask(None, false, sec(60));
        drop(go);
        let (_, finding) = found(&mut reader, &source, sec(61));
        assert!(matches!(finding, Finding::Read(Err(Refused::ConfigUnreadable { .. }))), "{finding:?}");
    }
}
