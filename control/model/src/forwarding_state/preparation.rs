//! Preparation of a configuration: lookup tables made ahead, away from the thread that owns the state.
//!
//! Lookup tables are what takes time when a configuration is taken over, and each depends on its ingredients alone. So a copy
//! of the state takes the configuration over first, and the state finds the tables there when its own turn comes. Where
//! the state has changed meanwhile, as by a probe, a table of other ingredients is wanted, and made then.

use std::time::Duration;

use super::{ForwardingState, Setup, StateChange};
use crate::choices::Choices;
use crate::config::Config;
use crate::egress_lookup::StandInMacs;

/// Copy of a state, to make ahead what a configuration needs.
#[derive(Debug)]
pub struct Preparation(ForwardingState);

/// Lookup tables that were made ahead.
#[derive(Debug)]
pub struct Prepared(Choices);

impl Preparation {
    /// Makes the lookup tables that the state comes to with this configuration.
    #[must_use]
    pub fn make(self, config: Config, now: Duration) -> Prepared {
        let Self(mut state) = self;
        state.apply([StateChange::Config(Box::new(config))], now);
        drop(state.snapshot(&StandInMacs));
        Prepared(state.compiler.into_choices())
    }
}

impl ForwardingState {
    /// Copy of the state, whose backends are as healthy as here and new ones as they will be.
    #[must_use]
    pub fn preparation(&self) -> Preparation {
        Preparation(Self { setup: Setup { workers: 0, ..self.setup }, ..self.copied() })
    }

    /// Takes in lookup tables that were made ahead.
    pub fn adopt(&mut self, prepared: Prepared) {
        self.compiler.adopt(prepared.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    fn config(names: &[&str]) -> Config {
        let endpoint =
            |(name, host): (&&str, usize)| format!("{{ name = \"{name}\", ip_address = \"10.0.0.{host}\" }}");
        let endpoints: Vec<String> = names.iter().zip(1..).map(endpoint).collect();
        let group = format!("[[backend_group]]\nname = \"group\"\nendpoints = [{}]\n", endpoints.join(", "));
        sample("", "backends = [{ group = \"group\" }]", &group)
    }

    #[test]
    fn a_configuration_that_was_prepared_makes_no_lookup_table() {
        let mut state = ForwardingState::offline(config(&["a", "b"]));
        state.snapshot(&StandInMacs);
        let next = config(&["a", "b", "c"]);
        let prepared = state.preparation().make(next.clone(), Duration::ZERO);
        let made = prepared.0.clone();
        state.adopt(prepared);
        state.apply([StateChange::Config(Box::new(next))], Duration::ZERO);
        state.snapshot(&StandInMacs);
        assert_eq!(state.compiler.choices_made(), made.len(), "all were there");
        assert_eq!(made.len(), 2, "that of the configuration before, and that of the new one");
        assert_eq!((state.configuration_generation(), state.snapshot_generation()), (2, 2));
    }
}
