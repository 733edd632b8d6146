//! Removals that a reload makes and that are rarely meant: of every rule, or of most backends.

use std::collections::HashSet;
use std::fmt;

use crate::config::{Config, ForwardingRule};

/// Removals that need a word of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removals {
    /// Number of forwarding rules that the running configuration has.
    pub rules: usize,
    /// Number of these that are gone.
    pub rules_removed: usize,
    /// Number of backends that the running configuration has, over all services.
    pub backends: usize,
    /// Number of these that are gone.
    pub backends_removed: usize,
}

impl Removals {
    /// Removals from `old` to `new` that need a word: of every rule, or of more than half of all backends; none otherwise.
    pub fn between(old: &Config, new: &Config) -> Option<Self> {
        let names: HashSet<&str> = new.rules.iter().map(|rule| &*rule.name).collect();
        let served: HashSet<_> = new.rules.iter().map(|rule| vip(rule, new)).collect();
        // A rule under another name is not gone.
        let is_gone =
            |rule: &&ForwardingRule| !names.contains(&*rule.name) && !served.contains(&vip(rule, old));
        let (before, after) = (backends(old), backends(new));
        let removals = Self {
            rules: old.rules.len(),
            rules_removed: old.rules.iter().filter(is_gone).count(),
            backends: before.len(),
            backends_removed: before.difference(&after).count(),
        };
        (removals.is_every_rule() || removals.is_most_backends()).then_some(removals)
    }

    fn is_every_rule(&self) -> bool {
        self.rules > 0 && self.rules_removed == self.rules
    }

    fn is_most_backends(&self) -> bool {
        self.backends_removed * 2 > self.backends
    }
}

impl fmt::Display for Removals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rules, backends, backends_removed, .. } = self;
        match (self.is_every_rule(), self.is_most_backends()) {
            (true, true) => {
                write!(f, "every forwarding rule ({rules}) and {backends_removed} of {backends} backends")
            }
            (true, false) => write!(f, "every forwarding rule ({rules})"),
            (false, _) => write!(f, "{backends_removed} of {backends} backends"),
        }
    }
}

/// VIP and protocol of a rule, with the name of its network.
fn vip<'c>(rule: &ForwardingRule, config: &'c Config) -> (&'c str, String) {
    (&config.networks[rule.network].name, format!("{} {:?}", rule.vip, rule.protocol))
}

/// Names of all backends, each with its service.
fn backends(config: &Config) -> HashSet<(&str, &str)> {
    let services = config.services.iter();
    let names =
        services.flat_map(|service| service.endpoints(config).map(move |endpoint| (service, endpoint)));
    names.map(|(service, endpoint)| (&*service.name, &*endpoint.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rules: &[(&str, &str)], backends: &[&str]) -> Config {
        let endpoints: Vec<String> = (11..)
            .zip(backends)
            .map(|(number, name)| format!("{{ name = \"{name}\", ip_address = \"192.0.2.{number}\" }}"))
            .collect();
        let rules: String = rules
            .iter()
            .map(|(name, vip)| {
                format!(
                    "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"{vip}\"\nall_ports = true\n\
                     backend_service = \"svc\"\n"
                )
            })
            .collect();
        let text = format!(
            "{rules}[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n\
             [[backend_service]]\nname = \"svc\"\nhealth_checks = [\"hc\"]\nbackends = [{{ group = \"g\" }}]\n\
             [[backend_group]]\nname = \"g\"\nendpoints = [{}]\n[network]\nmac_address = \"02:00:00:00:00:01\"\n",
            endpoints.join(", ")
        );
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn every_rule_or_most_backends_need_a_word_and_less_does_not() {
        let (a, b) = (("a", "203.0.113.10"), ("b", "203.0.113.11"));
        let old = config(&[a, b], &["b1", "b2", "b3", "b4"]);
        let removals = |rules: &[(&str, &str)], backends: &[&str]| {
            Removals::between(&old, &config(rules, backends)).map(|removals| removals.to_string())
        };
        assert_eq!(removals(&[a, b], &["b1", "b2", "b3", "b4"]), None);
        assert_eq!(removals(&[a], &["b1", "b2"]), None, "one of two rules, and half");
        assert_eq!(removals(&[("other", "203.0.113.10")], &["b1", "b2"]), None, "a rule under another name");
        assert_eq!(removals(&[], &["b1", "b2"]).as_deref(), Some("every forwarding rule (2)"));
        assert_eq!(
            removals(&[("c", "203.0.113.12")], &["b1", "b2"]).as_deref(),
            Some("every forwarding rule (2)")
        );
        assert_eq!(removals(&[a, b], &["b1", "b5", "b6", "b7"]).as_deref(), Some("3 of 4 backends"));
        assert_eq!(removals(&[], &[]).as_deref(), Some("every forwarding rule (2) and 4 of 4 backends"));
        let empty = config(&[], &[]);
        assert_eq!(Removals::between(&empty, &empty), None, "there was nothing to remove");
    }
}
