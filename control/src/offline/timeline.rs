//! Timeline of a replay: what health checks, operators and reloads would have done, and when.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use guideway_model::config::{Config, ConfigErrors, MAX_WEIGHT};
use guideway_model::forwarding_state::StateChange;

use crate::config_file;

/// Changes during a replay, in order of time.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Moments in order of time.
    pub moments: Vec<Moment>,
}

/// Changes of one instant: together they are one change.
#[derive(Debug)]
pub struct Moment {
    /// Time since the first frame; a change before it holds for every frame.
    pub at: Duration,
    /// Changes, in the order of the list.
    pub changes: Vec<StateChange>,
}

/// Reasons why a list of events cannot be used.
#[derive(Debug)]
pub enum TimelineError {
    /// The list cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The list is no TOML, or not of this form; the text names line and column.
    Syntax(PathBuf, Box<toml::de::Error>),
    /// Events are at odds with themselves or with the configuration: file and line, what is wrong, what to do.
    Wrong(Vec<(PathBuf, usize, String)>),
    /// The configuration of a reload is wrong.
    Config(ConfigErrors),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimelineFile {
    #[serde(default)]
    event: Vec<Spanned<EventEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventEntry {
    at: f64,
    service: Option<String>,
    backend: Option<String>,
    health: Option<Health>,
    weight: Option<u16>,
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Health {
    Healthy,
    Unhealthy,
}

impl Timeline {
    /// Reads a list of events for a replay that starts with `config`; the configurations of reloads lie beside it.
    ///
    /// # Errors
    /// [`TimelineError`], with everything that is wrong with the list at once.
    pub fn read(path: &Path, config: &Config) -> Result<Self, TimelineError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| TimelineError::Unreadable(path.into(), error))?;
        let file: TimelineFile =
            toml::from_str(&text).map_err(|error| TimelineError::Syntax(path.into(), Box::new(error)))?;
        let mut configs = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut last = f64::NEG_INFINITY;
        let mut moments: Vec<Moment> = Vec::new();
        for entry in file.event {
            let line = 1 + text[..entry.span().start].matches('\n').count();
            let changes = match entry.as_ref().change(config, &moments) {
                Ok(EntryChange::Backend(changes)) => changes,
                Ok(EntryChange::Reload(name)) => match read_config(&path.with_file_name(&name), &mut configs)
                {
                    Ok(config) => vec![StateChange::Config(Box::new(config))],
                    Err(ReloadError::Wrong(errors)) => return Err(TimelineError::Config(errors)),
                    Err(ReloadError::Unreadable(error)) => {
                        let what = format!(
                            "cannot read `{}`, which lies beside the events: {error}",
                            name.display()
                        );
                        wrong.push((path.to_owned(), line, what));
                        continue;
                    }
                },
                Err(message) => {
                    wrong.push((path.to_owned(), line, message));
                    continue;
                }
            };
            let at = entry.as_ref().at;
            // A change from before the first frame holds from it on.
            match Duration::try_from_secs_f64(at.max(0.0)) {
                Ok(_) if at == last => {
                    let moment = moments.last_mut().expect("a moment had this time");
                    moment.changes.extend(changes);
                }
                Ok(time) if at.is_finite() && at > last => {
                    last = at;
                    moments.push(Moment { at: time, changes });
                }
                Ok(_) if at.is_finite() => {
                    wrong.push((path.to_owned(), line, "events must be in order of `at`: move it up".into()));
                }
                _ => {
                    wrong.push((
                        path.to_owned(),
                        line,
                        format!("`at` is {at}: write seconds after the first frame"),
                    ));
                }
            }
        }
        if wrong.is_empty() { Ok(Self { moments }) } else { Err(TimelineError::Wrong(wrong)) }
    }
}

enum EntryChange {
    Backend(Vec<StateChange>),
    Reload(PathBuf),
}

impl EventEntry {
    /// Reads the change that the entry asks for, or tells what is wrong with the entry and how to mend it.
    fn change(&self, config: &Config, before: &[Moment]) -> Result<EntryChange, String> {
        if let Some(name) = &self.config {
            let others = self.service.is_some() || self.backend.is_some() || self.health.is_some();
            if others || self.weight.is_some() {
                return Err("an event with `config` has no other key but `at`: split it in two".into());
            }
            return Ok(EntryChange::Reload(name.clone()));
        }
        let (Some(service), Some(backend)) = (&self.service, &self.backend) else {
            return Err("an event needs `service` and `backend`, or `config`: add them".into());
        };
        if self.health.is_none() && self.weight.is_none() {
            return Err("an event changes `health` or `weight`: add one".into());
        }
        if self.weight.is_some_and(|weight| weight > MAX_WEIGHT) {
            return Err(format!("`weight` is more than {MAX_WEIGHT}, the largest: lower it"));
        }
        // A backend that a reload has removed may drain still, so every configuration so far counts.
        let reloads = before.iter().flat_map(|moment| &moment.changes).filter_map(|change| match change {
            StateChange::Config(config) => Some(&**config),
            _ => None,
        });
        let mut is_service = false;
        let mut is_backend = false;
        for config in std::iter::once(config).chain(reloads) {
            for found in config.services.iter().filter(|found| found.name == *service) {
                is_service = true;
                let mut endpoints =
                    found.members.iter().flat_map(|member| &config.groups[member.group].endpoints);
                is_backend |= endpoints.any(|endpoint| endpoint.name == *backend);
            }
        }
        if !is_service {
            return Err(format!("there is no backend service `{service}` by then: correct `service`"));
        }
        if !is_backend {
            return Err(format!("service `{service}` has no backend `{backend}` by then: correct `backend`"));
        }
        let names = || (service.clone(), backend.clone());
        let health = self.health.map(|health| {
            let ((service, backend), healthy) = (names(), health == Health::Healthy);
            StateChange::Health { service, backend, healthy }
        });
        let weight = self.weight.map(|weight| {
            let (service, backend) = names();
            StateChange::ReportedWeight { service, backend, weight }
        });
        Ok(EntryChange::Backend(health.into_iter().chain(weight).collect()))
    }
}

/// Reasons why a reload's configuration cannot be had.
enum ReloadError {
    Unreadable(std::io::Error),
    Wrong(ConfigErrors),
}

fn read_config(path: &Path, known: &mut BTreeMap<PathBuf, Config>) -> Result<Config, ReloadError> {
    if let Some(config) = known.get(path) {
        return Ok(config.clone());
    }
    let text = config_file::read(path).map_err(ReloadError::Unreadable)?;
    let config = Config::parse(&path.to_string_lossy(), &text).map_err(ReloadError::Wrong)?;
    known.insert(path.to_owned(), config.clone());
    Ok(config)
}
