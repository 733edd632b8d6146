//! Files of endpoints: a thread looks at them once a second, reads those that have changed, and keeps the last good answer
//! of those that are gone, damaged or empty. Answers of the domain name system, which another thread asks, are looked at
//! like files.
//!
//! The watcher has the texts of the configuration in force, so that a change is judged as a reload is, with that file alone
//! replaced. The control thread takes over what comes of it.

mod dns;
mod watch;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use guideway_model::config::{Config, DnsQuestion, FileKind, NamedFile, Sources, fault_of_endpoints};
use guideway_model::forwarding_state::{ForwardingState, Preparation, Prepared};

use super::event_log::Note;
use super::views::unix_sec;
use crate::api::view::{self, EventKind};
use crate::run::aside::Aside;

use dns::Asker;
use watch::Watch;

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files of endpoints of the configuration in force.
#[derive(Debug, Default)]
pub(super) struct EndpointsFiles {
    /// Way to have lookup tables made.
    aside: Aside,
    files: Vec<Watched>,
    /// The thread that looks at them; none where there are none.
    watcher: Option<Watcher>,
    /// Work on the lookup tables of what was found; none where none is under way.
    maker: Option<Maker>,
}

/// Lookup tables that are being made, and the news that they are of.
#[derive(Debug)]
struct Maker {
    news: News,
    made: Receiver<Prepared>,
}

/// State of a file, or of a question.
#[derive(Debug)]
struct Watched {
    /// Name of the file, by which errors call it.
    name: String,
    /// Question whose answer stands for a file; none of a file.
    question: Option<DnsQuestion>,
    groups: Vec<String>,
    /// Time at which what is in force was read; none of a question before its first answer.
    loaded_at: Option<SystemTime>,
    fault: Option<String>,
}

#[derive(Debug)]
struct Watcher {
    news: Receiver<News>,
    /// Asker of the domain name system; none where nobody asks.
    _asker: Option<Asker>,
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
    /// Files whose lookup tables are made this way.
    pub(super) fn new(aside: Aside) -> Self {
        Self { aside, ..Self::default() }
    }

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
        (self.watcher, self.maker) = (None, None);
        let Some(sources) = sources else { return Vec::new() };
        for file in sources.endpoints_files() {
            let known = before.iter().position(|known| known.name == file.name);
            let known = known.map(|known| before.swap_remove(known));
            self.files.push(Watched::new(config, file, known, now));
        }
        let questions: Vec<_> = self.files.iter().filter_map(|file| file.question.clone()).collect();
        let asker = match Asker::start(questions) {
            Ok(asker) => asker,
            Err(error) => {
                tracing::error!("DNS is not asked for endpoints: {error}");
                None
            }
        };
        let notes = self.tell(faults);
        let (news_sender, news) = channel();
        let (stop, stopped) = channel();
        let known = self.files.iter().map(|file| file.fault.clone()).collect();
        let answers = asker.as_ref().map(Asker::answers).unwrap_or_default();
        let mut watch = Watch::new(Arc::clone(sources), known, answers);
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
            Ok(_) => self.watcher = Some(Watcher { news, _asker: asker, _stop: stop }),
            Err(error) => tracing::error!("the files of endpoints are not watched: {error}"),
        }
        notes
    }

    /// Findings of the threads since the last call: files with faults, and a configuration to be taken over, with its lookup
    /// tables where it has new ones.
    pub(super) fn news(
        &mut self,
        state: &ForwardingState,
        now: Duration,
    ) -> Option<(News, Option<Prepared>)> {
        if self.maker.is_none() {
            let news = self.watcher.as_ref()?.news.try_recv().ok()?;
            let taken = news.taken.as_ref().filter(|taken| !state.is_in_force(&taken.config));
            match taken.map(|taken| make(&self.aside, taken.config.clone(), state.preparation(), now)) {
                Some(Ok(made)) => self.maker = Some(Maker { news, made }),
                Some(Err(error)) => {
                    tracing::warn!("new endpoints are prepared by the control thread: {error}");
                    return Some((news, None));
                }
                None => return Some((news, None)),
            }
        }
        let maker = self.maker.take()?;
        match maker.made.try_recv() {
            Ok(prepared) => Some((maker.news, Some(prepared))),
            Err(TryRecvError::Empty) => {
                self.maker = Some(maker);
                None
            }
            Err(TryRecvError::Disconnected) => Some((maker.news, None)),
        }
    }

    /// Takes in the faults of files; returns their events.
    pub(super) fn tell(&mut self, faults: Vec<(String, Option<String>)>) -> Vec<Note> {
        let mut notes = Vec::new();
        for (path, fault) in faults {
            let Some(file) = self.files.iter_mut().find(|file| file.name == path) else { continue };
            if file.fault != fault {
                notes.push(file.note_of_fault(fault.as_deref()));
                file.fault = fault;
            }
        }
        notes
    }

    /// Notes that what was read of these files is in force; returns an event for each.
    pub(super) fn taken(&mut self, paths: &[String], config: &Config) -> Vec<Note> {
        let mut notes = Vec::new();
        for file in self.files.iter_mut().filter(|file| paths.contains(&file.name)) {
            if file.loaded_at.replace(SystemTime::now()).is_none() {
                // The first answer is no repair.
                file.fault = None;
            }
            let count = |name: &String| {
                let group = config.groups.iter().find(|group| group.name == *name);
                format!("{name} has {} endpoints", group.map_or(0, |group| group.endpoints.len()))
            };
            let counts: Vec<_> = file.groups.iter().map(count).collect();
            let (kind, what) = match &file.question {
                None => (EventKind::EndpointsFileRead, format!("{} has changed", file.name)),
                Some(question) => (EventKind::EndpointsDnsAnswered, format!("DNS has answered {question}")),
            };
            notes.push(Note::new(kind, format!("{what}: {}", counts.join(", "))));
        }
        notes
    }

    /// State of the files.
    pub(super) fn files(&self) -> Vec<view::EndpointsFile> {
        let view = |file: &Watched| view::EndpointsFile {
            path: file.name.clone(),
            backend_groups: file.groups.clone(),
            loaded_at_unix_sec: file.loaded_at.map_or(0, unix_sec),
            last_error: file.fault.clone(),
        };
        self.files.iter().filter(|file| file.question.is_none()).map(view).collect()
    }

    /// State of the questions.
    pub(super) fn questions(&self) -> Vec<view::EndpointsDns> {
        let view = |file: &Watched| {
            let question = file.question.as_ref()?;
            Some(view::EndpointsDns {
                name: question.name.clone(),
                record: question.record.as_str().to_owned(),
                servers: question.servers.iter().map(ToString::to_string).collect(),
                backend_groups: file.groups.clone(),
                answered_at_unix_sec: file.loaded_at.map(unix_sec),
                last_error: file.fault.clone(),
            })
        };
        self.files.iter().filter_map(view).collect()
    }
}

impl Watched {
    /// State of a file of a configuration that is put in force, of which something may be known from before.
    fn new(config: &Config, file: &NamedFile, known: Option<Self>, now: SystemTime) -> Self {
        let asks = |question: &DnsQuestion| file.kind == FileKind::Dns && question.to_string() == file.path;
        let question = config.groups.iter().filter_map(|group| group.endpoints_dns.as_ref());
        let question = question.into_iter().find(|question| asks(question)).cloned();
        let is_of = |group: &&guideway_model::config::BackendGroup| match &question {
            Some(question) => group.endpoints_dns.as_ref() == Some(question),
            None => group.endpoints_file.as_ref() == Some(&file.name),
        };
        let groups = config.groups.iter().filter(is_of).map(|group| group.name.clone()).collect();
        let (loaded_at, fault) = match (known, &file.text) {
            // An answer is not read anew by a reload.
            (Some(known), _) if question.is_some() => (known.loaded_at, known.fault),
            (None, Err(error)) => (None, Some(error.clone())),
            (known, _) => (Some(now), known.and_then(|known| known.fault)),
        };
        Self { name: file.name.clone(), question, groups, loaded_at, fault }
    }

    /// Event of a fault that is new, or of the end of the one before.
    fn note_of_fault(&self, fault: Option<&str>) -> Note {
        let (name, groups) = (&self.name, self.groups.join(", "));
        match (fault, &self.question, self.loaded_at) {
            (Some(fault), None, _) => Note::new(
                EventKind::EndpointsFileFailed,
                format!("endpoints of {groups} stay as they were last read from {name}: {fault}"),
            ),
            (None, None, _) => {
                Note::new(EventKind::EndpointsFileRead, format!("{name} is right again, for {groups}"))
            }
            (Some(fault), Some(question), Some(_)) => Note::new(
                EventKind::EndpointsDnsFailed,
                format!("endpoints of {groups} stay as DNS last answered {question}: {fault}"),
            ),
            (Some(fault), Some(question), None) => Note::new(
                EventKind::EndpointsDnsFailed,
                format!("endpoints of {groups} are unknown until DNS answers {question}: {fault}"),
            ),
            (None, Some(question), _) => Note::new(
                EventKind::EndpointsDnsAnswered,
                format!("DNS answers {question} again, for {groups}"),
            ),
        }
    }
}

/// Has what a configuration needs made beside this thread, from a copy of the state.
fn make(aside: &Aside, config: Config, copy: Preparation, now: Duration) -> io::Result<Receiver<Prepared>> {
    let (send, made) = channel();
    let make = move || {
        // The supervisor may have ended, or have taken over another configuration.
        let _ = send.send(copy.make(config, now));
    };
    aside.begin("endpoints-maker", make)?;
    Ok(made)
}

/// Puts the last good text in the place of those that give no endpoints any more, and brings in the answers of the domain name
/// system, which are no files; returns the faults of all files that had
/// one before or have one now.
pub(super) fn keep_last_good(
    sources: &mut Sources,
    known: Option<&Sources>,
) -> Vec<(String, Option<String>)> {
    if let Some(known) = known {
        sources.bring_answers(known);
    }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use guideway_model::egress_lookup::StandInMacs;
    use guideway_model::forwarding_state::StateChange;

    use super::*;

    fn sources(folder: &std::path::Path) -> Sources {
        crate::config_file::read(&folder.join("guideway.toml")).expect("the files are there")
    }

    #[test]
    fn lookup_tables_of_new_endpoints_come_with_them() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file can be written");
        };
        write("guideway.toml", CONFIG);
        write("web.json", "[{ \"targets\": [\"192.0.2.11\"] }]");
        let first = Arc::new(sources(folder.path()));
        let config = Config::parse_to_run(&first).unwrap_or_else(|errors| panic!("{errors}"));
        let mut state = ForwardingState::offline(config.clone());
        state.snapshot(&StandInMacs);
        let (taker, handed) = channel();
        let mut files = EndpointsFiles::new(Aside::Handed(taker));
        files.watch(&config, Some(&first), Vec::new());

        write("web.json", "[{ \"targets\": [\"192.0.2.11\", \"192.0.2.12\"] }]");
        let end = Instant::now() + Duration::from_secs(60);
        let (news, prepared) = loop {
            if let Ok(work) = handed.try_recv() {
                assert!(files.news(&state, Duration::ZERO).is_none(), "nobody has made them yet");
                work.run();
            }
            if let Some(found) = files.news(&state, Duration::ZERO) {
                break found;
            }
            assert!(Instant::now() < end, "the change is not seen");
            thread::sleep(Duration::from_millis(1));
        };
        state.adopt(prepared.expect("a thread has made the tables"));
        let taken = news.taken.expect("the file is right");
        state.apply([StateChange::Config(Box::new(taken.config))], Duration::ZERO);
        assert_eq!(state.snapshot(&StandInMacs).services[0].eligible.backends.len(), 2);
    }

    const CONFIG: &str = r#"
        [[port]]
        name = "lan"
        device = "net_null0"
        [[forwarding_rule]]
        name = "web"
        ip_address = "203.0.113.10"
        ip_protocol = "TCP"
        all_ports = true
        backend_service = "web"
        [[health_check]]
        name = "tcp"
        type = "TCP"
        port = 80
        [[backend_service]]
        name = "web"
        protocol = "TCP"
        health_checks = ["tcp"]
        backends = [{ group = "web" }]
        [[backend_group]]
        name = "web"
        endpoints_file = "web.json"
    "#;
}
