//! Timeline of a replay: what health checks, operators and reloads would have done, and when.

use std::collections::BTreeMap;
use std::ops::Range;
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
    /// Configuration files of the reloads.
    pub configs: Vec<PathBuf>,
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
    /// The list, or the configuration of a reload, is wrong: each error with its place and its remedy.
    Wrong(ConfigErrors),
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
    at: Spanned<f64>,
    service: Option<Spanned<String>>,
    backend: Option<Spanned<String>>,
    health: Option<Health>,
    weight: Option<Spanned<u16>>,
    config: Option<Spanned<PathBuf>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Health {
    Healthy,
    Unhealthy,
}

/// Error of an entry: the bytes that it concerns, its message and its remedy; without bytes, the entry's first line.
struct Wrong {
    span: Option<Range<usize>>,
    message: String,
    help: &'static str,
}

impl Wrong {
    fn entry(message: &str, help: &'static str) -> Self {
        Self { span: None, message: message.to_owned(), help }
    }

    fn value<T>(value: &Spanned<T>, message: impl Into<String>, help: &'static str) -> Self {
        Self { span: Some(value.span()), message: message.into(), help }
    }
}

impl Timeline {
    /// Reads a list of events for a replay that starts with `config`; the configurations of reloads lie beside it.
    ///
    /// # Errors
    /// [`TimelineError`], with everything that is wrong with the list at once.
    pub fn read(path: &Path, config: &Config) -> Result<Self, TimelineError> {
        let text =
            config_file::read_text(path).map_err(|error| TimelineError::Unreadable(path.into(), error))?;
        Self::parse(path, &text, config).map_err(TimelineError::Wrong)
    }

    fn parse(path: &Path, text: &str, config: &Config) -> Result<Self, ConfigErrors> {
        let name = path.to_string_lossy();
        let file: TimelineFile = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let help = "docs/replay.md shows what an `[[event]]` has".to_owned();
            ConfigErrors::of_text(&name, text, [(span, error.message().to_owned(), help)])
                .expect("there is one error")
        })?;
        let mut known = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut moments: Vec<Moment> = Vec::new();
        let mut last = f64::NEG_INFINITY;
        for entry in &file.event {
            let changes = entry.as_ref().changes(path, config, &moments, &mut known);
            let added =
                changes.and_then(|changes| Ok(entry.as_ref().add(changes, &mut last, &mut moments)?));
            match added {
                Ok(()) => {}
                Err(EntryError::Wrong(Wrong { span, message, help })) => {
                    wrong.push((span.unwrap_or_else(|| first_line(entry, text)), message, help.to_owned()));
                }
                // A configuration is shown with its own errors.
                Err(EntryError::Config(errors)) => return Err(errors),
            }
        }
        ConfigErrors::of_text(&name, text, wrong)
            .map_or(Ok(Self { moments, configs: known.into_keys().collect() }), Err)
    }
}

/// Bytes of the first line of an entry.
fn first_line(entry: &Spanned<EventEntry>, text: &str) -> Range<usize> {
    let start = entry.span().start;
    let length = text[start..].find('\n').unwrap_or(text.len() - start);
    start..start + length
}

/// Reasons why an entry cannot be used.
enum EntryError {
    /// The entry is at odds with itself, with the others or with the configuration.
    Wrong(Wrong),
    /// The configuration of the reload that it asks for is wrong.
    Config(ConfigErrors),
}

impl From<Wrong> for EntryError {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl EventEntry {
    /// Reads the changes that the entry asks for, or tells what is wrong with the entry and how to mend it.
    fn changes(
        &self,
        path: &Path,
        config: &Config,
        before: &[Moment],
        known: &mut BTreeMap<PathBuf, Config>,
    ) -> Result<Vec<StateChange>, EntryError> {
        let Some(name) = &self.config else { return Ok(self.backend_changes(config, before)?) };
        let others = self.service.is_some() || self.backend.is_some() || self.health.is_some();
        if others || self.weight.is_some() {
            return Err(Wrong::value(
                name,
                "an event with `config` has no other key but `at`",
                "split it in two",
            )
            .into());
        }
        match read_config(&path.with_file_name(name.as_ref()), known) {
            Ok(config) => Ok(vec![StateChange::Config(Box::new(config))]),
            Err(ReloadError::Wrong(errors)) => Err(EntryError::Config(errors)),
            Err(ReloadError::Unreadable(error)) => {
                let message = format!("cannot read `{}`: {error}", name.as_ref().display());
                Err(Wrong::value(name, message, "name a configuration that lies beside the events").into())
            }
        }
    }

    /// Reads the changes to a backend.
    fn backend_changes(&self, config: &Config, before: &[Moment]) -> Result<Vec<StateChange>, Wrong> {
        let (Some(service), Some(backend)) = (&self.service, &self.backend) else {
            return Err(Wrong::entry("an event needs `service` and `backend`, or `config`", "add them"));
        };
        if self.health.is_none() && self.weight.is_none() {
            return Err(Wrong::entry("an event changes `health` or `weight`", "add one"));
        }
        if let Some(weight) = self.weight.as_ref().filter(|weight| *weight.as_ref() > MAX_WEIGHT) {
            return Err(Wrong::value(
                weight,
                format!("`weight` is more than {MAX_WEIGHT}, the largest"),
                "lower it",
            ));
        }
        // A backend that a reload has removed may drain still, so every configuration so far counts.
        let reloads = before.iter().flat_map(|moment| &moment.changes).filter_map(|change| match change {
            StateChange::Config(config) => Some(&**config),
            _ => None,
        });
        let (service_name, backend_name) = (service.as_ref(), backend.as_ref());
        let mut is_service = false;
        let mut is_backend = false;
        for config in std::iter::once(config).chain(reloads) {
            for found in config.services.iter().filter(|found| found.name == *service_name) {
                is_service = true;
                let mut endpoints =
                    found.members.iter().flat_map(|member| &config.groups[member.group].endpoints);
                is_backend |= endpoints.any(|endpoint| endpoint.name == *backend_name);
            }
        }
        if !is_service {
            let message = format!("there is no backend service `{service_name}` by then");
            return Err(Wrong::value(service, message, "correct `service`"));
        }
        if !is_backend {
            let message = format!("service `{service_name}` has no backend `{backend_name}` by then");
            return Err(Wrong::value(backend, message, "correct `backend`"));
        }
        let names = || (service_name.clone(), backend_name.clone());
        let health = self.health.map(|health| {
            let ((service, backend), healthy) = (names(), health == Health::Healthy);
            StateChange::Health { service, backend, healthy }
        });
        let weight = self.weight.as_ref().map(|weight| {
            let (service, backend) = names();
            StateChange::ReportedWeight { service, backend, weight: *weight.as_ref() }
        });
        Ok(health.into_iter().chain(weight).collect())
    }

    /// Adds the entry's changes to the moments before it, of which the latest was at `last`.
    fn add(&self, changes: Vec<StateChange>, last: &mut f64, moments: &mut Vec<Moment>) -> Result<(), Wrong> {
        let at = *self.at.as_ref();
        // A change from before the first frame holds from it on.
        match Duration::try_from_secs_f64(at.max(0.0)) {
            Ok(_) if at == *last => {
                moments.last_mut().expect("a moment had this time").changes.extend(changes);
                Ok(())
            }
            Ok(time) if at.is_finite() && at > *last => {
                *last = at;
                moments.push(Moment { at: time, changes });
                Ok(())
            }
            Ok(_) if at.is_finite() => {
                Err(Wrong::value(&self.at, "events must be in order of `at`", "move it up"))
            }
            _ => {
                let message = format!("`at` is {at}");
                Err(Wrong::value(&self.at, message, "write seconds after the first frame"))
            }
        }
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
    let sources = config_file::read(path).map_err(ReloadError::Unreadable)?;
    let config = Config::parse_sources(&sources).map_err(ReloadError::Wrong)?;
    known.insert(path.to_owned(), config.clone());
    Ok(config)
}
