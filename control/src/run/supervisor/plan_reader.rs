//! Reader of the configuration of which a plan is asked: a thread of its own, so that a file system that does not answer holds
//! up this plan alone.
//!
//! ```text
//!  `GET /v1/plan` ──▶ a thread: files ─▶ Config ──▶ control thread: a copy of the state ──▶ a thread: the plan
//! ```
//!
//! A read that hangs is given up as that of a reload is. Its thread cannot be ended: until it is, such plans are refused at
//! once, so that no second thread hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::config_reader::{READ_TIME, unanswered, unreadable};
use super::config_source::{ConfigSource, Loaded};
use crate::api::request::{Refused, Reply};
use crate::api::view;
use crate::run::aside::Aside;

/// Reader, and the plan that waits for it.
#[derive(Debug, Default)]
pub(super) struct PlanReader {
    aside: Aside,
    job: Option<Job>,
}

/// Read of a thread.
#[derive(Debug)]
struct Job {
    done: Receiver<Result<Loaded, Refused>>,
    since: Duration,
    /// Reply of the plan; none of a read that was given up.
    reply: Option<Reply<view::Plan>>,
    /// True once files are read.
    has_read: Arc<AtomicBool>,
}

/// Configuration that was read, or the error in it, and the reply that waits for the plan.
pub(super) type Read = (Reply<view::Plan>, Result<Loaded, Refused>);

impl PlanReader {
    /// Reader whose work is done this way.
    pub(super) fn new(aside: Aside) -> Self {
        Self { aside, job: None }
    }

    /// Has a thread read the configuration, unless one is at it.
    pub(super) fn ask(&mut self, source: &ConfigSource, reply: Reply<view::Plan>, now: Duration) {
        let own_source = source.clone();
        let read = move |has_read: &AtomicBool| own_source.read(|| has_read.store(true, Ordering::Relaxed));
        self.begin(source, reply, now, read);
    }

    fn begin(
        &mut self,
        source: &ConfigSource,
        reply: Reply<view::Plan>,
        now: Duration,
        read: impl FnOnce(&AtomicBool) -> Result<Loaded, Refused> + Send + 'static,
    ) {
        match &mut self.job {
            None => {}
            Some(Job { reply: Some(_), .. }) => return drop(reply.send(Err(Refused::WhatIfRunning))),
            Some(job) => match job.done.try_recv() {
                Err(TryRecvError::Empty) => {
                    return drop(reply.send(Err(unanswered(source, now.saturating_sub(job.since)))));
                }
                // The read that was given up has ended.
                Ok(_) | Err(TryRecvError::Disconnected) => {}
            },
        }
        let (send, done) = channel();
        let has_read = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_read);
        let run = move || {
            // The supervisor may have ended.
            let _ = send.send(read(&told));
        };
        if let Err(error) = self.aside.begin("plan-reader", run) {
            return drop(reply.send(Err(unreadable(source, &format!("no thread can be started: {error}")))));
        }
        self.job = Some(Job { done, since: now, reply: Some(reply), has_read });
    }

    /// Takes in what was read, or gives up a read that hangs.
    pub(super) fn poll(&mut self, source: &ConfigSource, now: Duration) -> Option<Read> {
        let job = self.job.as_mut()?;
        let read = match job.done.try_recv() {
            Ok(read) => read,
            Err(TryRecvError::Disconnected) => Err(unreadable(source, "its reader has failed")),
            Err(TryRecvError::Empty) => {
                let is_late = now.saturating_sub(job.since) >= READ_TIME;
                // Relaxed: it carries nothing but itself.
                let is_given_up = is_late && !job.has_read.load(Ordering::Relaxed);
                let reply = job.reply.take_if(|_| is_given_up)?;
                return Some((reply, Err(unanswered(source, now.saturating_sub(job.since)))));
            }
        };
        let reply = job.reply.take();
        self.job = None;
        reply.map(|reply| (reply, read))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    use guideway_model::config::Config;
    use tokio::sync::oneshot;

    use super::*;

    const fn sec(sec: u64) -> Duration {
        Duration::from_secs(sec)
    }

    fn nowhere() -> ConfigSource {
        let config = Config::parse("guideway.toml", "").expect("it is right");
        ConfigSource::new("/nonexistent/guideway.toml".into(), None, &config)
    }

    /// Polls until something is read.
    fn read(reader: &mut PlanReader, source: &ConfigSource, now: Duration) -> Read {
        let end = Instant::now() + sec(60);
        loop {
            if let Some(read) = reader.poll(source, now) {
                return read;
            }
            assert!(Instant::now() < end, "nothing is read");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_file_is_read_and_its_error_told() {
        let (source, mut reader) = (nowhere(), PlanReader::default());
        let (reply, _asker) = oneshot::channel();
        reader.ask(&source, reply, sec(0));
        let (_, result) = read(&mut reader, &source, sec(1));
        assert!(
            matches!(&result, Err(Refused::ConfigUnreadable { path, .. }) if path == Path::new("/nonexistent/guideway.toml")),
            "{result:?}"
        );
        assert!(reader.job.is_none());
    }

    /// A simulation has one thread alone, which does the work when it likes.
    #[test]
    fn the_read_is_done_by_whoever_takes_work() {
        let (taker, work) = channel();
        let (source, mut reader) = (nowhere(), PlanReader::new(Aside::Handed(taker)));
        let (reply, _asker) = oneshot::channel();
        reader.ask(&source, reply, sec(0));
        assert!(reader.poll(&source, sec(1)).is_none());
        let work = work.try_recv().expect("it is handed over");
        assert_eq!(work.name, "plan-reader");
        work.run();
        let read = reader.poll(&source, sec(1));
        assert!(matches!(read, Some((_, Err(Refused::ConfigUnreadable { .. })))), "{read:?}");
    }

    #[test]
    fn a_read_that_hangs_is_given_up_and_no_second_one_hangs_with_it() {
        let (source, mut reader) = (nowhere(), PlanReader::default());
        let (go, wait) = channel::<()>();
        let (reply, _first) = oneshot::channel();
        let hang = move |_: &AtomicBool| {
            let _ = wait.recv();
            Err(Refused::Stopping)
        };
        reader.begin(&source, reply, sec(0), hang);
        let ask = |reader: &mut PlanReader, now| {
            let (reply, answer) = oneshot::channel();
            reader.ask(&source, reply, now);
            answer
        };
        assert!(matches!(ask(&mut reader, sec(1)).blocking_recv(), Ok(Err(Refused::WhatIfRunning))));
        assert!(reader.poll(&source, sec(19)).is_none());
        let (_, late) = reader.poll(&source, sec(20)).expect("it is late");
        assert!(format!("{late:?}").contains("has not answered for 20 s"), "{late:?}");
        let next = ask(&mut reader, sec(31)).blocking_recv();
        assert!(format!("{next:?}").contains("has not answered for 31 s"), "{next:?}");
        assert!(reader.poll(&source, sec(32)).is_none());

        drop(go);
        let end = Instant::now() + sec(60);
        while reader.job.is_some() {
            assert!(reader.poll(&source, sec(33)).is_none(), "nobody waits for it any more");
            assert!(Instant::now() < end, "the thread goes on");
        }
        let (reply, _asker) = oneshot::channel();
        reader.ask(&source, reply, sec(40));
        assert!(matches!(read(&mut reader, &source, sec(40)), (_, Err(Refused::ConfigUnreadable { .. }))));
    }

    #[test]
    fn a_configuration_that_was_read_may_be_parsed_for_longer() {
        let (source, mut reader) = (nowhere(), PlanReader::default());
        let (go, wait) = channel::<()>();
        let (reply, _asker) = oneshot::channel();
        let parse = move |has_read: &AtomicBool| {
            has_read.store(true, Ordering::Relaxed);
            let _ = wait.recv();
            Err(Refused::Stopping)
        };
        reader.begin(&source, reply, sec(0), parse);
        let has_read = Arc::clone(&reader.job.as_ref().expect("it reads").has_read);
        let end = Instant::now() + sec(60);
        while !has_read.load(Ordering::Relaxed) {
            assert!(Instant::now() < end, "the thread does not run");
        }
        assert!(reader.poll(&source, sec(100)).is_none());
        drop(go);
        assert!(matches!(read(&mut reader, &source, sec(101)), (_, Err(Refused::Stopping))));
    }
}
