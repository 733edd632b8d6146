//! Exposures: settings that serve well on a desk, and leave an appliance that faces strangers open to them.

use guideway_dataplane::affinity::LoadBalancingScheme;

use super::Warning;
use crate::config::{Config, Fleet};

/// Lists the exposures of a configuration. A configuration that is only checked or replayed faces nobody.
pub fn exposures(config: &Config) -> Vec<Warning> {
    known_seed(config).into_iter().chain(open_exporter(config)).collect()
}

/// Warns of an external service whose clients can work out which backend any flow is sent to.
fn known_seed(config: &Config) -> Option<Warning> {
    let mut external = config.services.iter().filter(|one| one.scheme == LoadBalancingScheme::External);
    let service = external.next().filter(|_| config.fleet.seed == Fleet::DEFAULT_SEED)?;
    let others = match external.count() {
        0 => "",
        1 => " and another",
        _ => " and others",
    };
    Some(Warning::new(
        format!(
            "EXTERNAL service `{}`{others} with the default seed, which is public: a client can choose the source ports \
             that lead to one backend",
            service.name
        ),
        "set `[fleet] seed` or `seed_file` to the output of `openssl rand -hex 16`, the same on every appliance of the \
         fleet",
    ))
}

/// Warns of an exporter that listens on every address, those that clients can reach among them.
fn open_exporter(config: &Config) -> Option<Warning> {
    let listen = config.metrics.listen;
    let is_open = listen.ip().is_unspecified() && config.metrics.token.is_none();
    is_open.then(|| {
        Warning::new(
            format!(
                "`[metrics] listen` is {listen}, every address of the machine: whoever reaches one of them reads which \
                 backends there are, and their traffic"
            ),
            "give it an address of the network that Prometheus is in, or a `token_file`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::exposures;
    use crate::config::Config;

    fn texts(services: &[(&str, &str)], rest: &str) -> Vec<String> {
        let service = |(name, scheme): &(&str, &str)| {
            format!(
                "[[backend_service]]\nname = \"{name}\"\nload_balancing_scheme = \"{scheme}\"\nprotocol = \"TCP\"\n\
                 health_checks = [\"tcp\"]\nbackends = [{{ group = \"all\" }}]\n"
            )
        };
        let shared = "[[health_check]]\nname = \"tcp\"\ntype = \"TCP\"\nport = 80\n\
                      [[backend_group]]\nname = \"all\"\nendpoints = [{ name = \"a\", ip_address = \"10.1.1.1\" }]\n";
        let text: String = services.iter().map(service).collect::<String>() + shared;
        let config =
            Config::parse("exposed.toml", &format!("{text}{rest}")).unwrap_or_else(|error| panic!("{error}"));
        exposures(&config).iter().map(|warning| warning.text.clone()).collect()
    }

    #[test]
    fn external_services_with_the_public_seed_are_told_of() {
        let known = texts(&[("inner", "INTERNAL"), ("web", "EXTERNAL"), ("dns", "EXTERNAL")], "");
        assert_eq!(known.len(), 1);
        assert!(
            known[0].starts_with("EXTERNAL service `web` and another with the default seed"),
            "{known:?}"
        );
        assert_eq!(texts(&[("inner", "INTERNAL")], ""), [""; 0]);
        let own = "[fleet]\nseed = \"000102030405060708090a0b0c0d0e0f\"\n";
        assert_eq!(texts(&[("web", "EXTERNAL")], own), [""; 0]);
    }

    #[test]
    fn an_exporter_on_every_address_is_told_of() {
        for (listen, count) in
            [("0.0.0.0:9090", 1), ("[::]:9090", 1), ("127.0.0.1:9090", 0), ("[::1]:9090", 0)]
        {
            let of = texts(&[], &format!("[metrics]\nlisten = \"{listen}\"\n"));
            assert_eq!(of.len(), count, "{listen}: {of:?}");
        }
    }
}
