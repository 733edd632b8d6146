//! Warnings of health checks by the kernel, which is in one network: it asks hosts of that one for backends of all.

use std::collections::BTreeSet;

use super::Warning;
use crate::config::{Config, HealthCheck, Transport};

/// Warns of each health check by the kernel that has backends in a network where its probes do not go: in another than the
/// first, which is taken to be the kernel's, or in several by one interface.
pub(super) fn elsewhere(config: &Config) -> impl Iterator<Item = Warning> {
    let checks = config.health_checks.iter().enumerate();
    checks.filter_map(|(index, check)| of_check(index, check, config))
}

fn of_check(index: usize, check: &HealthCheck, config: &Config) -> Option<Warning> {
    let Transport::Kernel { bind_device, .. } = &check.transport else { return None };
    let services = config.services.iter().filter(|service| service.health_check == index);
    let networks: BTreeSet<usize> = services.map(|service| service.network).collect();
    let names = |networks: &mut dyn Iterator<Item = &usize>| -> Vec<String> {
        networks.map(|network| format!("`{}`", config.networks[*network].name)).collect()
    };
    let name = &check.name;
    match bind_device {
        None => {
            let others = names(&mut networks.iter().filter(|network| **network != 0));
            (!others.is_empty()).then(|| {
                Warning::new(
                    format!(
                        "health check `{name}` has backends in network {}, and the kernel, which sends its probes, is in \
                         one network alone: hosts of the same addresses may answer there, or nobody",
                        others.join(", ")
                    ),
                    "leave out `transport = \"kernel\"`, or name an interface in that network: `bind_device`",
                )
            })
        }
        Some(device) => (networks.len() > 1).then(|| {
            Warning::new(
                format!(
                    "health check `{name}` has backends in the networks {}, and its probes all leave by interface {device}",
                    names(&mut networks.iter()).join(", ")
                ),
                "leave out `transport = \"kernel\"`, or write a health check with its own `bind_device` for each network",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Warnings of a health check with these lines, for services in the first network and in the second.
    fn of(check: &str, is_in_first: bool, is_in_second: bool) -> Vec<String> {
        let service = |network: &str| {
            format!(
                "[[backend_service]]\nname = \"{network}\"\nnetwork = \"{network}\"\nhealth_checks = [\"alive\"]\n\
                 backends = [{{ group = \"{network}\" }}]\n\
                 [[backend_group]]\nname = \"{network}\"\nnetwork = \"{network}\"\nendpoints = []\n"
            )
        };
        let text = "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"\n\
                    [[network]]\nname = \"blue\"\n[[network]]\nname = \"red\"\nvlan = 200\n"
            .to_owned()
            + &format!("[[health_check]]\nname = \"alive\"\ntype = \"TCP\"\nport = 80\n{check}\n")
            + &if is_in_first { service("blue") } else { String::new() }
            + &if is_in_second { service("red") } else { String::new() };
        let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
        elsewhere(&config).map(|warning| warning.to_string()).collect()
    }

    #[test]
    fn probes_by_the_kernel_are_told_of_where_they_do_not_go_to_the_backends_network() {
        let kernel = "transport = \"kernel\"";
        assert_eq!(of("", true, true), [""; 0], "in the path of traffic, each goes out in its own");
        assert_eq!(of(kernel, true, false), [""; 0]);
        let told = "health check `alive` has backends in network `red`, and the kernel, which sends its probes, is in one \
                    network alone: hosts of the same addresses may answer there, or nobody: leave out `transport = \
                    \"kernel\"`, or name an interface in that network: `bind_device`";
        assert_eq!(of(kernel, false, true), [told]);
        assert_eq!(of(kernel, true, true), [told]);
    }

    #[test]
    fn an_interface_is_in_one_network() {
        let bound = "transport = \"kernel\"\nbind_device = \"eth0.200\"";
        assert_eq!(of(bound, false, true), [""; 0]);
        assert_eq!(
            of(bound, true, true),
            [
                "health check `alive` has backends in the networks `blue`, `red`, and its probes all leave by interface \
              eth0.200: leave out `transport = \"kernel\"`, or write a health check with its own `bind_device` for each \
              network"
            ]
        );
    }
}
