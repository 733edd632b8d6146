//! Look at files of endpoints, and at answers that stand for some: which have changed, and what the configuration comes to with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guideway_model::config::{Config, ConfigErrors, FileKind, Sources, fault_of_endpoints};

use super::dns::Answers;
use super::{News, Taken};
use crate::config_file;

/// Age from which on a file is no longer being written: until then it is read with every look, as one that is changed
/// twice in a tick of the file system's clock looks the same.
const SETTLED: Duration = Duration::from_secs(2);

/// Marks by which a file is known to be unchanged: inode, size, and times of the last changes.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

/// The files of endpoints of a configuration, and what has been seen of them.
#[derive(Debug)]
pub(super) struct Watch {
    /// Texts in force, or about to be.
    sources: Arc<Sources>,
    seen: Vec<Seen>,
    /// Texts that are right by themselves, and not with the rest of the configuration; by index.
    pending: BTreeMap<usize, String>,
    /// Latest answers of the domain name system.
    answers: Answers,
}

#[derive(Debug)]
struct Seen {
    /// Index of the file among the named ones of the sources.
    named: usize,
    /// Stamp of the file when it was read; none of one that must be read again.
    stamp: Option<Stamp>,
    fault: Option<String>,
}

impl Watch {
    /// A watch that has seen no file, with the faults that are known, in the order of the files.
    pub(super) fn new(sources: Arc<Sources>, faults: Vec<Option<String>>, answers: Answers) -> Self {
        let named = sources.named.iter().enumerate();
        let named = named.filter(|(_, file)| matches!(file.kind, FileKind::Endpoints | FileKind::Dns));
        let seen = named.zip(faults).map(|((named, _), fault)| Seen { named, stamp: None, fault }).collect();
        Self { sources, seen, pending: BTreeMap::new(), answers }
    }

    /// Looks at all files; returns what is new, if anything is.
    pub(super) fn look(&mut self) -> Option<News> {
        let mut news = News::default();
        let mut has_changed = false;
        for index in 0..self.seen.len() {
            has_changed |= self.look_at(index, &mut news);
        }
        if has_changed {
            self.take(&mut news);
        }
        (!news.faults.is_empty() || news.taken.is_some()).then_some(news)
    }

    fn name(&self, index: usize) -> &str {
        &self.sources.named[self.seen[index].named].name
    }

    /// Text of a file, or the latest answer; [`None`] if it is the one that was seen before.
    fn text(&mut self, index: usize) -> Option<Result<String, String>> {
        let file = &self.sources.named[self.seen[index].named];
        if file.kind == FileKind::Dns {
            return self.answers.get(&file.path);
        }
        let path = Path::new(&file.name);
        let stamp = stamp(path);
        if stamp.is_some() && self.seen[index].stamp == stamp {
            return None;
        }
        self.seen[index].stamp = stamp.filter(is_settled);
        Some(config_file::read_endpoints(path).map_err(|error| error.to_string()))
    }

    /// Reads a file if it has changed; returns true if that gives new endpoints.
    fn look_at(&mut self, index: usize, news: &mut News) -> bool {
        let Some(text) = self.text(index) else { return false };
        let text = text.and_then(|text| fault_of_endpoints(&text).map_or(Ok(text), Err));
        let known = self.sources.named[self.seen[index].named].text.as_deref().ok();
        match text {
            Err(fault) => {
                self.pending.remove(&index);
                self.tell(index, Some(fault), news);
                false
            }
            Ok(text) if Some(&*text) == known => {
                self.pending.remove(&index);
                self.tell(index, None, news);
                false
            }
            Ok(text) => self.pending.insert(index, text.clone()) != Some(text),
        }
    }

    fn tell(&mut self, index: usize, fault: Option<String>, news: &mut News) {
        if self.seen[index].fault != fault {
            news.faults.push((self.name(index).to_owned(), fault.clone()));
            self.seen[index].fault = fault;
        }
    }

    /// Takes the texts that are right with the rest of the configuration: all of them, or else one after the other.
    fn take(&mut self, news: &mut News) {
        let pending = std::mem::take(&mut self.pending);
        let mut paths: Vec<String> = pending.keys().map(|index| self.name(*index).to_owned()).collect();
        let mut taken = None;
        let named = |index: &usize| self.seen[*index].named;
        match parsed(&self.sources, pending.iter().map(|(index, text)| (named(index), text))) {
            Ok(accepted) => {
                taken = Some(accepted);
                pending.keys().for_each(|index| self.tell(*index, None, news));
            }
            Err(_) => {
                paths.clear();
                for (index, text) in pending {
                    let sources = taken.as_ref().map_or(&self.sources, |(sources, _)| sources);
                    match parsed(sources, [(self.seen[index].named, &text)]) {
                        Ok(accepted) => {
                            taken = Some(accepted);
                            paths.push(self.name(index).to_owned());
                            self.tell(index, None, news);
                        }
                        Err(errors) => {
                            self.tell(index, Some(first(&errors)), news);
                            self.pending.insert(index, text);
                        }
                    }
                }
            }
        }
        if let Some((sources, config)) = taken {
            self.sources = Arc::clone(&sources);
            news.taken = Some(Taken { sources, config, paths });
        }
    }
}

/// Configuration with these texts in some of the named files.
fn parsed<'t>(
    sources: &Sources,
    texts: impl IntoIterator<Item = (usize, &'t String)>,
) -> Result<(Arc<Sources>, Config), ConfigErrors> {
    let mut sources = sources.clone();
    for (index, text) in texts {
        sources.named[index].text = Ok(text.clone());
    }
    let config = Config::parse_to_run(&sources)?;
    Ok((Arc::new(sources), config))
}

/// The first error, in a line.
fn first(errors: &ConfigErrors) -> String {
    let Some(error) = errors.errors().first() else { return "it is wrong".to_owned() };
    let file = error.file.as_deref().unwrap_or(errors.name());
    format!("{file}:{}:{}: {}", error.line, error.column, error.message)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some((metadata.ino(), metadata.size(), modified, (metadata.ctime(), metadata.ctime_nsec())))
}

/// True if the file has not changed lately.
fn is_settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let changed = stamp.2.0.max(stamp.3.0);
    u64::try_from(changed).is_ok_and(|changed| Duration::from_secs(changed) + SETTLED < now)
}
