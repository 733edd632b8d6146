//! The configuration file of the running appliance: read again at a reload, whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use guideway_model::config::{Config, Sources};

use super::endpoints_files::keep_last_good;
use super::event_log::Note;
use crate::api::request::Refused;
use crate::api::view::{self, EventKind};
use crate::config_file;

/// The path of the configuration file, and the time when what is in force was read.
#[derive(Clone, Debug)]
pub(super) struct ConfigSource {
    path: PathBuf,
    loaded_at: SystemTime,
    /// Texts in force, where files of endpoints are watched.
    sources: Option<Arc<Sources>>,
}

/// A configuration that has been read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    /// Texts of the configuration, where it has files of endpoints.
    pub(super) sources: Option<Arc<Sources>>,
    /// Faults of files of endpoints, whose last good answer is taken; none of those that are right.
    pub(super) faults: Vec<(String, Option<String>)>,
}

impl ConfigSource {
    /// A file that has just been read, with the texts of the configuration, for one that has watched endpoints.
    pub(super) fn new(path: PathBuf, sources: Option<Sources>, config: &Config) -> Self {
        let sources = sources.and_then(|sources| watched(sources, config));
        Self { path, loaded_at: SystemTime::now(), sources }
    }

    /// Reads the file, and those that it names, calls `note_read`, and parses them; a thread other than the control thread does.
    pub(super) fn read(&self, note_read: impl FnOnce()) -> Result<Loaded, Refused> {
        let path = &self.path;
        let mut sources = config_file::read(path)
            .map_err(|error| Refused::ConfigUnreadable { path: path.clone(), error: error.to_string() })?;
        note_read();
        let faults = keep_last_good(&mut sources, self.sources.as_deref());
        let config = Config::parse_to_run(&sources).map_err(Refused::Config)?;
        let sources = watched(sources, &config);
        Ok(Loaded { config, sources, faults })
    }

    /// Texts in force, where files of endpoints are watched.
    pub(super) const fn sources(&self) -> Option<&Arc<Sources>> {
        self.sources.as_ref()
    }

    /// Takes note of the texts that are in force now.
    pub(super) fn set_sources(&mut self, sources: Option<Arc<Sources>>) {
        self.sources = sources;
    }

    /// Notes that what was read is in force.
    pub(super) fn mark_loaded(&mut self) {
        self.loaded_at = SystemTime::now();
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn loaded_at(&self) -> SystemTime {
        self.loaded_at
    }
}

/// The event of a reload, before which the configuration of this number was in force.
pub(super) fn note(reload: &Result<view::Reload, Refused>, before: u64) -> Note {
    match reload {
        Ok(reload) if reload.configuration_generation == before => {
            let waiting = match reload.changes.len() {
                0 => String::new(),
                waiting => format!("; {waiting} changes wait for the next start"),
            };
            let text = format!("nothing changed, configuration {before} stays in force{waiting}");
            Note::new(EventKind::Reloaded, text)
        }
        Ok(reload) => {
            let (number, changes) = (reload.configuration_generation, reload.changes.len());
            Note::new(EventKind::Reloaded, format!("configuration {number} is in force, {changes} changes"))
        }
        Err(refused) => {
            let why = match refused {
                Refused::Config(errors) => {
                    format!("it is wrong in {} places, as `guideway check` shows", errors.errors().len())
                }
                Refused::ConfigUnreadable { path, error } => {
                    format!("cannot read {}: {error}", path.display())
                }
                Refused::RemovalsUnconfirmed(removals) => {
                    format!("the file removes {removals}; if that is meant, `guideway reload --yes`")
                }
                other => format!("{other:?}"),
            };
            let text = format!("configuration not reloaded, nothing has changed: {why}");
            Note::new(EventKind::ReloadRefused, text)
        }
    }
}

/// The texts of a configuration whose endpoints are watched, in files or the domain name system; of any other, nobody needs
/// them again.
fn watched(mut sources: Sources, config: &Config) -> Option<Arc<Sources>> {
    sources.expect_answers(config);
    let is_watched = sources.endpoints_files().next().is_some();
    is_watched.then(|| Arc::new(sources))
}
