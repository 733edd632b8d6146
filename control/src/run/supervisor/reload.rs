//! Reloads: the configuration read again, or a file of endpoints that has changed, and taken over whole or not at all.

use guideway_model::config::Config;
use guideway_model::config_diff;
use guideway_model::removals::Removals;

use super::config_source::{self, Loaded};
use super::endpoints_files::{News, Taken};
use super::{Next, Supervisor, operator};
use crate::api::request::Refused;
use crate::api::view;
use crate::run::ports::Ports;

impl<P: Ports> Supervisor<P> {
    pub(super) fn hang_up(&mut self) -> Next {
        if let Err(Refused::Config(errors)) = self.reload(false) {
            tracing::error!("what is wrong with the configuration:\n{}", errors.render(false));
        }
        Next::Turn
    }

    /// Reads the configuration again and takes it over, whole or not at all.
    pub(super) fn reload(&mut self, confirms_removals: bool) -> Result<view::Reload, Refused> {
        let before = self.appliance.state().configuration_generation();
        let reload = self.take_over_file(confirms_removals);
        self.event_log.note(config_source::note(&reload, before));
        reload
    }

    fn take_over_file(&mut self, confirms_removals: bool) -> Result<view::Reload, Refused> {
        let Loaded { config, sources, faults } = self.config_source.read()?;
        let kept = |(path, fault): &(String, Option<String>)| {
            Some(format!("{path}: {}: its last good answer holds", fault.as_ref()?))
        };
        let kept: Vec<String> = faults.iter().filter_map(kept).collect();
        let running = self.appliance.config();
        if running.admin.confirm_removals
            && !confirms_removals
            && let Some(removals) = Removals::between(running, &config)
        {
            return Err(Refused::RemovalsUnconfirmed(removals));
        }
        if self.appliance.state().is_in_force(&config) {
            // Settings that wait for the next start are told again.
            let changes = config_diff::changes(running, &config);
            self.config_source.mark_loaded();
            self.config_source.set_sources(sources);
            self.watch_endpoints(faults);
            return Ok(self.reloaded(&changes, self.warn().into_iter().chain(kept).collect()));
        }
        let (changes, refusals) = self.take_over(config);
        self.config_source.mark_loaded();
        self.config_source.set_sources(sources);
        self.watch_endpoints(faults);
        let warnings = self.warn().into_iter().chain(refusals).chain(kept).collect();
        Ok(self.reloaded(&changes, warnings))
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
    pub(super) fn take_in_endpoints(&mut self) {
        while let Some(News { faults, taken }) = self.endpoints_files.news() {
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
