//! Writes what operators have set by hand to its file, in a thread of its own: a slow disk holds up no turn.
//!
//! Writes follow one another, and the latest state waits for the one that goes on. An operator's answer comes once the
//! file has what was changed, so that nothing that was answered is lost with the process; where the disk takes too long or refuses, the
//! answer warns, and the state is written again and again until that succeeds.

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::event_log::Note;
use crate::api::request::Reply;
use crate::api::view::{Backend, EventKind};
use crate::run::aside::Aside;
use crate::run::state_file::StateFile;

/// Longest time that an answer waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between a write that has failed and the next one.
const RETRY: Duration = Duration::from_secs(10);

/// Longest wait for the disk when the appliance stops.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Writer of the state file, and the answers that wait for it.
#[derive(Debug)]
pub(super) struct StateKeeper {
    aside: Aside,
    file: Option<StateFile>,
    writing: Option<Writing>,
    /// State to be written next, and the earliest time for it.
    next: Option<(String, Duration)>,
    answers: Vec<Answer>,
    /// Number of the latest state, from 1.
    latest: u64,
    last_error: Option<String>,
}

/// A write that goes on.
#[derive(Debug)]
struct Writing {
    text: String,
    /// Number of the state that is written.
    number: u64,
    done: oneshot::Receiver<io::Result<()>>,
}

/// An answer that waits until a state is in the file.
#[derive(Debug)]
struct Answer {
    number: u64,
    reply: Reply<Backend>,
    backend: Backend,
    until: Duration,
}

impl StateKeeper {
    /// A keeper of this file, written this way; of nothing where there is none.
    pub(super) fn new(file: Option<StateFile>, aside: Aside) -> Self {
        Self { aside, file, writing: None, next: None, answers: Vec::new(), latest: 0, last_error: None }
    }

    /// The file; none where nothing is kept.
    pub(super) fn file(&self) -> Option<&StateFile> {
        self.file.as_ref()
    }

    /// The cause why the file is not as it should be; none where it is.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Has a state written, as soon as no other is.
    pub(super) fn keep(&mut self, text: impl FnOnce() -> String, now: Duration) {
        if self.file.is_some() {
            self.latest += 1;
            self.next = Some((text(), now));
            self.begin(now);
        }
    }

    /// Sends an answer once the latest state is in the file: at once where nothing is kept.
    pub(super) fn answer(&mut self, reply: Reply<Backend>, backend: Backend, now: Duration) {
        if self.file.is_none() {
            // A client that is gone takes no answer.
            let _ = reply.send(Ok(backend));
            return;
        }
        self.answers.push(Answer { number: self.latest, reply, backend, until: now + PATIENCE });
    }

    /// Takes in the end of a write, begins the next, and sends the answers whose wait is over.
    pub(super) fn poll(&mut self, now: Duration) -> Option<Note> {
        if self.writing.is_none() && self.next.is_none() && self.answers.is_empty() {
            return None;
        }
        let ended = self.writing.as_mut().and_then(|writing| match writing.done.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(io::Error::other("the writer has ended"))),
        });
        let note = ended.and_then(|result| self.end(result, now));
        self.begin(now);
        for late in self.answers.extract_if(.., |answer| answer.until <= now) {
            late.send(Some("the change is in force, and not in the state file yet: the disk is slow"));
        }
        note
    }

    /// Waits for the writes that are left, for a short time.
    pub(super) async fn finish(&mut self, now: Duration) -> Option<Note> {
        let end = tokio::time::Instant::now() + LAST_PATIENCE;
        let mut note = None;
        // A state that waits for its next try has no later one.
        if let Some((_, earliest)) = &mut self.next {
            *earliest = now;
        }
        loop {
            self.begin(now);
            let Some(writing) = &mut self.writing else { break };
            let ended = tokio::time::timeout_at(end, &mut writing.done).await;
            let Ok(result) = ended else { break };
            note = self.end(result.unwrap_or_else(|_| Err(io::Error::other("the writer has ended"))), now);
        }
        let unwritten = "the change may be lost with the restart: it is not in the state file yet";
        self.answers.drain(..).for_each(|answer| answer.send(Some(unwritten)));
        note
    }

    /// Begins to write what is to be written, if no other write goes on and it is time.
    fn begin(&mut self, now: Duration) {
        let Some(file) = self.file.clone().filter(|_| self.writing.is_none()) else { return };
        let Some((text, _)) = self.next.take_if(|(_, earliest)| *earliest <= now) else { return };
        let (end, done) = oneshot::channel();
        let written = text.clone();
        // A supervisor that is gone waits for nothing.
        let write = move || drop(end.send(file.write(&written)));
        // A thread that cannot be had drops its end of the channel, which counts as a failure.
        if let Err(error) = self.aside.begin("state-file", write) {
            tracing::error!("cannot write the state file: {error}");
        }
        self.writing = Some(Writing { text, number: self.latest, done });
    }

    /// Takes in the end of the write.
    fn end(&mut self, result: io::Result<()>, now: Duration) -> Option<Note> {
        let Writing { text, number, .. } = self.writing.take()?;
        let path = self.file.as_ref()?.path().display().to_string();
        let error = result.err().map(|error| format!("cannot write {path}: {error}"));
        let warning = error.as_ref().map(|error| format!("the change is lost with a restart: {error}"));
        for answered in self.answers.extract_if(.., |answer| answer.number <= number) {
            answered.send(warning.as_deref());
        }
        if error.is_some() && self.next.is_none() {
            self.next = Some((text, now + RETRY));
        }
        let before = std::mem::replace(&mut self.last_error, error);
        match (&before, &self.last_error) {
            (None, Some(error)) => {
                let text = format!("drains and weights set by hand are lost with a restart: {error}");
                Some(Note::new(EventKind::OperatorStateFailed, text))
            }
            (Some(_), None) => {
                Some(Note::new(EventKind::OperatorStateKept, format!("{path} is as it should be again")))
            }
            _ => None,
        }
    }
}

impl Answer {
    /// Sends the answer, with a warning where there is one.
    fn send(self, warning: Option<&str>) {
        let Self { reply, mut backend, .. } = self;
        let warnings: Vec<&str> = backend.warning.as_deref().into_iter().chain(warning).collect();
        backend.warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        // A client that is gone takes no answer.
        let _ = reply.send(Ok(backend));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn keeper(path: &Path) -> StateKeeper {
        StateKeeper::new(Some(StateFile::new(path.to_owned())), Aside::Threads)
    }

    fn backend(warning: Option<&str>) -> Backend {
        let backend = json!({
            "service": "web", "name": "a", "address": "192.0.2.11", "role": "primary", "health": "healthy",
            "health_check": null, "draining": false, "drained": true, "entries_end_sec": null, "weight": null,
            "weight_source": "configured", "eligible": false, "share": 0.0, "warning": warning, "packets": 0,
            "bytes": 0, "next_hop": null
        });
        serde_json::from_value(backend).unwrap()
    }

    /// Polls at `now` until the write that goes on has ended; the note of its end.
    fn until_written(keeper: &mut StateKeeper, now: Duration) -> Option<Note> {
        while keeper.writing.is_some() {
            if let Some(note) = keeper.poll(now) {
                return Some(note);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    fn runtime(start_paused: bool) -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(start_paused).build().unwrap()
    }

    #[test]
    fn an_answer_comes_when_the_state_is_in_the_file_and_the_latest_state_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.toml");
        let mut keeper = keeper(&path);
        let (mut answers, mut texts) = (Vec::new(), 0..10);
        for text in texts.by_ref() {
            keeper.keep(|| text.to_string(), Duration::ZERO);
            let (reply, answer) = oneshot::channel();
            keeper.answer(reply, backend(None), Duration::ZERO);
            answers.push(answer);
        }
        assert!(answers[9].try_recv().is_err(), "nobody has looked yet");
        until_written(&mut keeper, Duration::ZERO);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "9");
        for mut answer in answers {
            assert_eq!(answer.try_recv().unwrap().unwrap().warning, None);
        }
    }

    /// The disk is a pipe that nobody reads: a write to it hangs, and fails when somebody does.
    #[test]
    fn a_disk_that_hangs_holds_up_nobody_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("state.toml"), directory.path().join("state.toml.new"));
        assert!(std::process::Command::new("mkfifo").arg(&new).status().unwrap().success());
        let mut keeper = keeper(&path);
        keeper.keep(|| "kept".to_owned(), Duration::ZERO);
        let (reply, mut answer) = oneshot::channel();
        keeper.answer(reply, backend(Some("nobody is eligible")), Duration::ZERO);
        let before = PATIENCE.checked_sub(Duration::from_millis(1)).unwrap();
        assert!(keeper.poll(before).is_none() && answer.try_recv().is_err());
        keeper.poll(PATIENCE);
        let warning = answer.try_recv().unwrap().unwrap().warning.unwrap();
        assert!(warning.starts_with("nobody is eligible; the change is in force, and not in"), "{warning}");

        drop(std::fs::File::open(&new).unwrap());
        assert!(until_written(&mut keeper, PATIENCE).is_some(), "the failure is noted");
        assert!(keeper.last_error().is_some());
        std::fs::remove_file(&new).unwrap();
        keeper.poll(PATIENCE + RETRY.checked_sub(Duration::from_millis(1)).unwrap());
        assert!(keeper.writing.is_none(), "not before its time");
        keeper.poll(PATIENCE + RETRY);
        assert!(until_written(&mut keeper, PATIENCE + RETRY).is_some(), "its end is noted");
        assert_eq!(keeper.last_error(), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn an_end_waits_for_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.toml");
        let mut keeper = keeper(&path);
        keeper.keep(|| "first".to_owned(), Duration::ZERO);
        keeper.keep(|| "last".to_owned(), Duration::ZERO);
        let (reply, mut answer) = oneshot::channel();
        keeper.answer(reply, backend(None), Duration::ZERO);
        assert!(runtime(false).block_on(keeper.finish(Duration::ZERO)).is_none());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "last");
        assert!(answer.try_recv().unwrap().is_ok());
    }

    #[test]
    fn an_end_that_the_disk_outlasts_says_that_the_change_may_be_lost() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("state.toml"), directory.path().join("state.toml.new"));
        assert!(std::process::Command::new("mkfifo").arg(&new).status().unwrap().success());
        let mut keeper = keeper(&path);
        keeper.keep(|| "kept".to_owned(), Duration::ZERO);
        let (reply, mut answer) = oneshot::channel();
        keeper.answer(reply, backend(None), Duration::ZERO);
        // The time passes when nothing else is left to do.
        runtime(true).block_on(keeper.finish(Duration::ZERO));
        let warning = answer.try_recv().unwrap().unwrap().warning.unwrap();
        assert!(warning.starts_with("the change may be lost with the restart"), "{warning}");
        // The writer's thread ends with this.
        drop(std::fs::File::open(&new).unwrap());
    }

    #[test]
    fn an_end_tries_once_more_to_write_what_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("state.toml");
        let mut keeper = keeper(&path);
        keeper.keep(|| "kept".to_owned(), Duration::ZERO);
        assert!(until_written(&mut keeper, Duration::ZERO).is_some(), "there is no such directory");
        std::fs::create_dir(directory.path().join("missing")).unwrap();
        assert!(runtime(false).block_on(keeper.finish(Duration::ZERO)).is_some(), "its end is noted");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }
}
