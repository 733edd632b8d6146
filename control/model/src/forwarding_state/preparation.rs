//! Preparation of a configuration: lookup tables and access lists made ahead, away from the thread that owns the state.
//!
//! Tables and lists are what takes time when a configuration is taken over, and each depends on its ingredients alone. So a copy of the
//! state takes the configuration over first, and the state finds them there when its own turn comes. Where the state has
//! changed meanwhile, as by a probe, a table of other ingredients is wanted, and made then.

use std::time::Duration;

use super::{ForwardingState, Setup, StateChange};
use crate::choices::Choices;
use crate::compiler::MadeLists;
use crate::config::Config;
use crate::egress_lookup::StandInMacs;

/// Copy of a state, to make ahead what a configuration needs.
#[derive(Debug)]
pub struct Preparation(ForwardingState);

/// Lookup tables and access lists that were made ahead.
#[derive(Debug)]
pub struct Prepared(Choices, MadeLists);

impl Preparation {
    /// Makes the lookup tables and access lists that the state comes to with this configuration.
    #[must_use]
    pub fn make(self, config: Config, now: Duration) -> Prepared {
        let Self(mut state) = self;
        state.apply([StateChange::Config(Box::new(config))], now);
        drop(state.snapshot(&StandInMacs));
        let (choices, lists) = state.compiler.into_made();
        Prepared(choices, lists)
    }
}

impl ForwardingState {
    /// Copy of the state, whose backends are as healthy as here and new ones as they will be.
    #[must_use]
    pub fn preparation(&self) -> Preparation {
        Preparation(Self { setup: Setup { workers: 0, ..self.setup }, ..self.copied() })
    }

    /// Takes in lookup tables and access lists that were made ahead.
    pub fn adopt(&mut self, prepared: Prepared) {
        let Prepared(choices, lists) = prepared;
        self.compiler.adopt(choices, lists);
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::address::Address;

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

    #[test]
    fn access_lists_that_were_prepared_are_taken_over_as_they_are() {
        let with_list = |denied: &str| {
            let list = format!(
                "[[access_list]]\nname = \"feed\"\ndefault_action = \"ALLOW\"\ndeny = [{denied}]\n\
                 [[backend_group]]\nname = \"group\"\nendpoints = []\n"
            );
            sample("", "backends = [{ group = \"group\" }]", &list)
        };
        let mut state = ForwardingState::offline(with_list("\"192.0.2.0/24\""));
        state.snapshot(&StandInMacs);
        let next = with_list("\"192.0.2.0/24\", \"198.51.100.0/24\"");
        let prepared = state.preparation().make(next.clone(), Duration::ZERO);
        state.adopt(prepared);
        state.apply([StateChange::Config(Box::new(next.clone()))], Duration::ZERO);
        let snapshot = state.snapshot(&StandInMacs);
        assert_eq!(state.compiler.lists_made(), 1, "of the first configuration alone");
        let denies = |text: &str| {
            let source: std::net::IpAddr = text.parse().expect("an address");
            !snapshot.access_lists[0].admits(Address::from(source))
        };
        assert!(denies("198.51.100.1") && denies("192.0.2.1") && !denies("203.0.113.1"));
        // A list that is as it was is made anew by no reload either.
        state.apply([StateChange::Config(Box::new(next))], Duration::ZERO);
        state.snapshot(&StandInMacs);
        assert_eq!(state.compiler.lists_made(), 1);
    }
}
