//! Reloads: the configuration read again, or a file of endpoints that has changed, and taken over whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use guideway_model::config::{Config, Sources};
use guideway_model::config_diff;
use guideway_model::removals::Removals;

use super::config_reader::{Askers, Finding};
use super::config_source::{self, Loaded};
use super::endpoints_files::{News, Taken};
use super::{Next, Supervisor, operator};
use crate::api::request::Refused;
use crate::api::view;
use crate::run::ports::Ports;

impl<P: Ports> Supervisor<P> {
    pub(super) fn hang_up(&mut self) -> Next {
        self.config_reader.ask(None, false, self.now());
        Next::Turn
    }

    /// Takes in what the reader of configurations has found, and answers those who have asked for it.
    pub(super) fn take_in_configuration(&mut self, now: Duration) {
        while let Some((askers, finding)) = self.config_reader.poll(&self.config_source, now) {
            let before = self.appliance.state().configuration_generation();
            let reload = match finding {
                Finding::Read(Err(refused)) => Err(refused),
                Finding::Read(Ok(loaded)) => match self.judge(&loaded, askers.confirms_removals) {
                    Err(refused) => Err(refused),
                    Ok(true) => Ok(self.keep(loaded)),
                    Ok(false) => {
                        let copy = self.appliance.state().preparation();
                        match self.config_reader.prepare(askers, loaded, copy, now) {
                            None => continue,
                            Some(askers) => {
                                let why = "no thread can be started".to_owned();
                                let path = self.config_source.path().to_owned();
                                self.end_reload(
                                    askers,
                                    &Err(Refused::ConfigUnreadable { path, error: why }),
                                    before,
                                );
                                continue;
                            }
                        }
                    }
                },
                Finding::Prepared(loaded, prepared) => {
                    self.appliance.adopt(prepared);
                    Ok(self.take_over_file(loaded))
                }
            };
            self.end_reload(askers, &reload, before);
        }
    }

    /// Notes how a reload has ended, and answers those who have asked for it.
    fn end_reload(&mut self, askers: Askers, reload: &Result<view::Reload, Refused>, before: u64) {
        self.event_log.note(config_source::note(reload, before));
        askers.answer(reload);
    }

    /// True if a configuration is in force already.
    ///
    /// # Errors
    /// Error where it removes what is rarely meant to go, and nobody has said that it is.
    fn judge(&self, loaded: &Loaded, confirms_removals: bool) -> Result<bool, Refused> {
        let running = self.appliance.config();
        if running.admin.confirm_removals
            && !confirms_removals
            && let Some(removals) = Removals::between(running, &loaded.config)
        {
            return Err(Refused::RemovalsUnconfirmed(removals));
        }
        Ok(self.appliance.state().is_in_force(&loaded.config))
    }

    /// Takes note of a configuration that is in force already.
    fn keep(&mut self, loaded: Loaded) -> view::Reload {
        // Settings that wait for the next start are told again.
        let changes = config_diff::changes(self.appliance.config(), &loaded.config);
        let kept = kept(&loaded);
        self.watch_loaded(loaded.sources, loaded.faults);
        self.reloaded(&changes, self.warn().into_iter().chain(kept).collect())
    }

    /// Takes over a configuration that was read.
    fn take_over_file(&mut self, loaded: Loaded) -> view::Reload {
        let kept = kept(&loaded);
        let Loaded { config, sources, faults } = loaded;
        let (changes, refusals) = self.take_over(config);
        self.watch_loaded(sources, faults);
        let warnings = self.warn().into_iter().chain(refusals).chain(kept).collect();
        self.reloaded(&changes, warnings)
    }

    /// Takes note of the texts in force, and watches their files of endpoints.
    fn watch_loaded(&mut self, sources: Option<Arc<Sources>>, faults: Vec<(String, Option<String>)>) {
        self.config_source.mark_loaded();
        self.config_source.set_sources(sources);
        self.watch_endpoints(faults);
    }

    /// Puts a configuration in force; returns what has changed, and what ports' devices refuse.
    fn take_over(&mut self, config: Config) -> (Vec<config_diff::Change>, Vec<String>) {
        // After a reload the names of the two latest configurations are known: frames decided by older ones are read now.
        self.drain_taps();
        self.listening.forget_numbers();
        let now = self.now();
        let changes = self.appliance.reload(config, now);
        self.listening.take_numbers(self.appliance.state());
        self.tell_addresses();
        let refusals = self.tell_vlans();
        let dropped = self.operator_state.reconcile(self.appliance.state().services());
        if !dropped.is_empty() {
            self.note_all(dropped.iter().map(operator::dropped));
            self.state_keeper.keep(|| self.operator_state.encode(), now);
        }
        if let Some(probes) = &mut self.probes {
            let update = probes.configure(&self.appliance, now);
            self.apply(update);
        }
        for change in &changes {
            tracing::info!("reload: {change}");
        }
        (changes, refusals)
    }

    /// Watches the files of endpoints of the configuration in force.
    pub(super) fn watch_endpoints(&mut self, faults: Vec<(String, Option<String>)>) {
        let notes = self.endpoints_files.watch(self.appliance.config(), self.config_source.sources(), faults);
        self.note_all(notes);
    }

    /// Takes over the endpoints of files that have changed, and notes the faults of others.
    ///
    /// While a reload is under way they wait, as what it was read with would overtake them; and while workers hold as many
    /// snapshots as they may.
    pub(super) fn take_in_endpoints(&mut self) {
        if self.config_reader.is_busy() || self.appliance.holds_most_snapshots() {
            return;
        }
        let now = self.now();
        while let Some((news, prepared)) = self.endpoints_files.news(self.appliance.state(), now) {
            let News { faults, taken } = news;
            if let Some(prepared) = prepared {
                self.appliance.adopt(prepared);
            }
            if let Some(Taken { sources, config, paths }) = taken {
                self.config_source.set_sources(Some(sources));
                if !self.appliance.state().is_in_force(&config) {
                    self.take_over(config);
                }
                let notes = self.endpoints_files.taken(&paths, self.appliance.config());
                self.note_all(notes);
            }
            let notes = self.endpoints_files.tell(faults);
            self.note_all(notes);
        }
    }

    fn reloaded(&self, changes: &[config_diff::Change], warnings: Vec<String>) -> view::Reload {
        view::Reload {
            config_path: self.config_source.path().display().to_string(),
            configuration_generation: self.appliance.state().configuration_generation(),
            changes: changes.iter().map(view::Change::from).collect(),
            warnings,
        }
    }
}

/// Warnings of files of endpoints whose last good answer holds.
fn kept(loaded: &Loaded) -> Vec<String> {
    let kept = |(path, fault): &(String, Option<String>)| {
        Some(format!("{path}: {}: its last good answer holds", fault.as_ref()?))
    };
    loaded.faults.iter().filter_map(kept).collect()
}
