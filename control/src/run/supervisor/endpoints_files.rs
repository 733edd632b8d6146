//! Files of endpoints: a thread looks at them once a second, reads those that have changed, and keeps the last good answer
//! of those that are gone, damaged or empty.
//!
//! The thread has the texts of the configuration in force, so that a change is judged as a reload is, with that file alone
//! replaced. The control thread takes over what comes of it.

mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use guideway_model::config::{Config, Sources, fault_of_endpoints};

use super::event_log::Note;
use super::views::unix_sec;
use crate::api::view::{self, EventKind};

use watch::Watch;

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files of endpoints of the configuration in force.
#[derive(Debug, Default)]
pub(super) struct EndpointsFiles {
    files: Vec<Watched>,
    /// The thread that looks at them; none where there are none.
    watcher: Option<Watcher>,
}

/// State of a file.
#[derive(Debug)]
struct Watched {
    path: String,
    groups: Vec<String>,
    /// Time at which what is in force was read.
    loaded_at: SystemTime,
    fault: Option<String>,
}

#[derive(Debug)]
struct Watcher {
    news: Receiver<News>,
    /// The thread ends once this is dropped.
    _stop: Sender<Infallible>,
}

/// Findings of one look at the files.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Files whose fault is new, or another one, or has ended.
    pub(super) faults: Vec<(String, Option<String>)>,
    /// Configuration with the files that have changed; none where none has.
    pub(super) taken: Option<Taken>,
}

/// Configuration with the files of endpoints that have changed.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) sources: Arc<Sources>,
    pub(super) config: Config,
    /// Paths of the files that have changed.
    pub(super) paths: Vec<String>,
}

impl EndpointsFiles {
    /// Watches the files of a configuration that has been put in force, in place of those before; returns the events of
    /// files that already had a fault.
    pub(super) fn watch(
        &mut self,
        config: &Config,
        sources: Option<&Arc<Sources>>,
        faults: Vec<(String, Option<String>)>,
    ) -> Vec<Note> {
        let now = SystemTime::now();
        let mut before = std::mem::take(&mut self.files);
        self.watcher = None;
        let Some(sources) = sources else { return Vec::new() };
        for file in sources.endpoints_files() {
            let groups =
                config.groups.iter().filter(|group| group.endpoints_file.as_ref() == Some(&file.name));
            let groups = groups.map(|group| group.name.clone()).collect();
            let known = before.iter().position(|known| known.path == file.name);
            let known = known.map(|known| before.swap_remove(known));
            self.files.push(Watched {
                path: file.name.clone(),
                groups,
                loaded_at: now,
                fault: known.and_then(|known| known.fault),
            });
        }
        let notes = self.tell(faults);
        let (news_sender, news) = channel();
        let (stop, stopped) = channel();
        let known = self.files.iter().map(|file| file.fault.clone()).collect();
        let mut watch = Watch::new(Arc::clone(sources), known);
        let look = move || {
            // The thread ends with the supervisor, or when a reload brings another configuration.
            while stopped.recv_timeout(LOOK_INTERVAL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                if let Some(found) = watch.look()
                    && news_sender.send(found).is_err()
                {
                    break;
                }
            }
        };
        match thread::Builder::new().name("endpoints-files".to_owned()).spawn(look) {
            Ok(_) => self.watcher = Some(Watcher { news, _stop: stop }),
            Err(error) => tracing::error!("the files of endpoints are not watched: {error}"),
        }
        notes
    }

    /// Findings of the thread since the last call.
    pub(super) fn news(&self) -> Option<News> {
        self.watcher.as_ref()?.news.try_recv().ok()
    }

    /// Takes in the faults of files; returns their events.
    pub(super) fn tell(&mut self, faults: Vec<(String, Option<String>)>) -> Vec<Note> {
        let mut notes = Vec::new();
        for (path, fault) in faults {
            let Some(file) = self.files.iter_mut().find(|file| file.path == path) else { continue };
            if file.fault == fault {
                continue;
            }
            let groups = file.groups.join(", ");
            notes.push(match &fault {
                Some(fault) => Note::new(
                    EventKind::EndpointsFileFailed,
                    format!("endpoints of {groups} stay as they were last read from {path}: {fault}"),
                ),
                None => {
                    Note::new(EventKind::EndpointsFileRead, format!("{path} is right again, for {groups}"))
                }
            });
            file.fault = fault;
        }
        notes
    }

    /// Notes that what was read of these files is in force; returns an event for each.
    pub(super) fn taken(&mut self, paths: &[String], config: &Config) -> Vec<Note> {
        let mut notes = Vec::new();
        for file in self.files.iter_mut().filter(|file| paths.contains(&file.path)) {
            file.loaded_at = SystemTime::now();
            let count = |name: &String| {
                let group = config.groups.iter().find(|group| group.name == *name);
                format!("{name} has {} endpoints", group.map_or(0, |group| group.endpoints.len()))
            };
            let counts: Vec<_> = file.groups.iter().map(count).collect();
            let text = format!("{} has changed: {}", file.path, counts.join(", "));
            notes.push(Note::new(EventKind::EndpointsFileRead, text));
        }
        notes
    }

    pub(super) fn view(&self) -> Vec<view::EndpointsFile> {
        let view = |file: &Watched| view::EndpointsFile {
            path: file.path.clone(),
            backend_groups: file.groups.clone(),
            loaded_at_unix_sec: unix_sec(file.loaded_at),
            last_error: file.fault.clone(),
        };
        self.files.iter().map(view).collect()
    }
}

/// Puts the last good text in the place of those that give no endpoints any more; returns the faults of all files that had
/// one before or have one now.
pub(super) fn keep_last_good(
    sources: &mut Sources,
    known: Option<&Sources>,
) -> Vec<(String, Option<String>)> {
    let mut faults = Vec::new();
    for file in sources.endpoints_files_mut() {
        let fault = match &file.text {
            Ok(text) => fault_of_endpoints(text),
            Err(error) => Some(error.clone()),
        };
        let last_good = known.and_then(|known| known.endpoints_files().find(|known| known.name == file.name));
        match (fault, last_good) {
            (Some(fault), Some(last_good)) => {
                file.text.clone_from(&last_good.text);
                faults.push((file.name.clone(), Some(fault)));
            }
            // The parser tells of a file that is read for the first time.
            (Some(_), None) => {}
            (None, _) => faults.push((file.name.clone(), None)),
        }
    }
    faults
}
