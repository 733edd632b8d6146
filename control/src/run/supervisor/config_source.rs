//! The configuration file of the running appliance: read again at a reload, whole or not at all.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use guideway_model::config::Config;

use super::event_log::Note;
use crate::api::request::Refused;
use crate::api::view::{self, EventKind};
use crate::config_file;

/// The path of the configuration file, and the time when what is in force was read.
#[derive(Clone, Debug)]
pub(super) struct ConfigSource {
    path: PathBuf,
    loaded_at: SystemTime,
}

impl ConfigSource {
    /// A file that has just been read.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, loaded_at: SystemTime::now() }
    }

    /// Reads the file.
    pub(super) fn read(&self) -> Result<Config, Refused> {
        let path = &self.path;
        let sources = config_file::read(path)
            .map_err(|error| Refused::ConfigUnreadable { path: path.clone(), error })?;
        Config::parse_to_run(&sources).map_err(Refused::Config)
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
