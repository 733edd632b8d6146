//! Configured weights that hardly count, as the backends of their service report their own.

use std::fmt;

use super::Config;

/// A service whose configured weights count only until its backends report theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedWeights {
    /// Name of the backend service.
    pub service: String,
}

impl UnusedWeights {
    /// All such services of a configuration: weighted ones by reports, with a configured weight other than 1.
    pub fn of(config: &Config) -> Vec<Self> {
        let reported =
            config.services.iter().filter(|service| service.weighted && !service.configured_weights);
        reported
            .filter(|service| service.endpoints(config).any(|endpoint| endpoint.weight != 1))
            .map(|service| Self { service: service.name.clone() })
            .collect()
    }
}

impl fmt::Display for UnusedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backend service `{}`: the configured weights count only until backends report theirs \
             (`X-Load-Balancing-Endpoint-Weight`), and not while one answers without: write \
             `weight_source = \"CONFIGURED\"` to go by the configured ones",
            self.service
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    /// The services that are warned of where one chooses by weight or not, by configured ones or not, and its endpoint
    /// has this weight.
    fn warned(weighted: bool, configured_weights: bool, weight: u16) -> Vec<String> {
        let group = format!(
            "[[backend_group]]\nname = \"group\"\n\
             endpoints = [{{ name = \"a\", ip_address = \"10.1.0.1\", weight = {weight} }}]"
        );
        let mut config = sample("", "backends = [{ group = \"group\" }]", &group);
        (config.services[0].weighted, config.services[0].configured_weights) = (weighted, configured_weights);
        UnusedWeights::of(&config).into_iter().map(|unused| unused.service).collect()
    }

    #[test]
    fn weights_that_reports_replace_are_warned_of_and_no_others() {
        assert_eq!(warned(true, false, 5), ["svc"]);
        assert_eq!(warned(true, false, 1), [""; 0]);
        assert_eq!(warned(false, false, 5), [""; 0], "nobody is chosen by weight");
        assert_eq!(warned(true, true, 5), [""; 0]);
    }
}
