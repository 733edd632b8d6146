//! The limit on open files, raised for the kernel's probes: each holds a descriptor while it is under way.

use guideway_model::config::{Config, Transport};
use guideway_model::warnings::Warning;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that the process holds beside the probes' sockets: devices, listeners, requests of operators, programs
/// that announce.
const OTHERS: u64 = 256;

/// The number of descriptors that the process needs with `config`: each check has at most one probe under way.
pub fn wanted(config: &Config) -> u64 {
    let of_service = |index: usize| {
        let service = &config.services[index];
        match config.health_checks[service.health_check].transport {
            Transport::InPath => 0,
            Transport::Kernel { .. } => service.endpoints(config).count() as u64,
        }
    };
    OTHERS + config.rules.iter().map(|rule| of_service(rule.service)).sum::<u64>()
}

/// Raises the limit on open files to `wanted`, where it is lower.
///
/// # Errors
/// The limit that stays in force, where the process may not raise it so far.
pub fn provide(wanted: u64) -> Result<(), u64> {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return Ok(()) };
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit { current: Some(allowed.max(current)), maximum: limit.maximum };
    let in_force = setrlimit(Resource::Nofile, raised).map_or(current, |()| allowed.max(current));
    if in_force < wanted { Err(in_force) } else { Ok(()) }
}

/// Warning where the limit in force, after [`provide`] has raised it as far as it may, is below what `config` wants.
pub fn warning(config: &Config) -> Option<Warning> {
    shortage(wanted(config), getrlimit(Resource::Nofile).current)
}

/// Warning of a limit, if there is one, that is below the number that is wanted.
fn shortage(wanted: u64, limit: Option<u64>) -> Option<Warning> {
    let limit = limit.filter(|limit| *limit < wanted)?;
    Some(Warning::new(
        format!(
            "the health checks by the kernel may take {wanted} open files, and the limit is {limit}, so that probes \
             that find none do not begin"
        ),
        "raise the hard limit (LimitNOFILE=, ulimit -Hn)",
    ))
}

#[cfg(test)]
mod tests {
    use guideway_model::sample::sample;

    use super::*;

    /// A service of two backends behind the sample's rule, whose check has this transport.
    fn config(transport: &str) -> Config {
        let mut config = sample(
            "",
            "backends = [{ group = \"group\" }]",
            "[[backend_group]]\nname = \"group\"\nendpoints = [\n\
             { name = \"a\", ip_address = \"10.1.0.1\" }, { name = \"b\", ip_address = \"10.1.0.2\" }]",
        );
        if transport == "kernel" {
            let check = &mut config.health_checks[config.services[0].health_check];
            check.transport = Transport::Kernel { bind_device: None, source: None };
        }
        config
    }

    #[test]
    fn each_backend_that_the_kernel_probes_through_a_rule_takes_one() {
        assert_eq!(wanted(&config("in_path")), OTHERS);
        let mut twice = config("kernel");
        assert_eq!(wanted(&twice), OTHERS + 2 * twice.rules.len() as u64);
        twice.rules.push(twice.rules[0].clone());
        assert_eq!(wanted(&twice), OTHERS + 2 * twice.rules.len() as u64);
    }

    #[test]
    fn a_limit_below_what_is_wanted_is_told_with_both_figures() {
        assert_eq!(shortage(1_000, None), None);
        assert_eq!(shortage(1_000, Some(1_000)), None);
        let warning = shortage(1_000, Some(999)).expect("one is lacking").to_string();
        assert!(warning.contains("may take 1000 open files, and the limit is 999"), "{warning}");
    }

    /// One test, as the limit is the process's.
    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        assert_eq!(provide(1), Ok(()));
        assert_eq!(getrlimit(Resource::Nofile), before);
        if let Some(maximum) = before.maximum {
            assert_eq!(provide(maximum), Ok(()));
            assert_eq!(getrlimit(Resource::Nofile).current, Some(maximum));
            assert_eq!(provide(maximum + 1), Err(maximum));
        }
    }
}
