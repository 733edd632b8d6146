//! Subsets in a configuration: what is accepted, and every error with what is shown for it.

use std::fmt::Write;
use std::num::NonZeroU16;

use guideway_model::config::Config;
use insta::{Settings, assert_snapshot};

/// Configuration of a service with these lines.
fn configuration(service: &str) -> String {
    format!(
        "[[backend_service]]\nname = \"svc\"\n{service}health_checks = [\"hc\"]\nbackends = [{{ group = \"g\" }}]\n\
         [[backend_group]]\nname = \"g\"\nendpoints = []\n[[health_check]]\nname = \"hc\"\ntype = \"HTTP\"\nport = 80\n"
    )
}

const INTERNAL: &str = "load_balancing_scheme = \"INTERNAL\"\n";

const WEIGHTED: &str = "locality_lb_policy = \"WEIGHTED_MAGLEV\"\n";

#[test]
fn a_size_is_accepted_with_its_policy_and_none_is_the_default() {
    let size = |service: String| {
        let config = Config::parse("config.toml", &configuration(&service))
            .unwrap_or_else(|errors| panic!("{errors}"));
        config.services[0].subset_size.map(NonZeroU16::get)
    };
    assert_eq!(size(String::new()), None);
    assert_eq!(size(format!("{WEIGHTED}subsetting = {{}}\n")), None);
    assert_eq!(size("subsetting = { policy = \"NONE\" }\n".to_owned()), None);
    for subset_size in [1, 20, 1000] {
        let policy = "policy = \"CONSISTENT_HASH_SUBSETTING\"";
        let subsetting = format!("subsetting = {{ {policy}, subset_size = {subset_size} }}\n");
        assert_eq!(size(format!("{INTERNAL}{subsetting}")), Some(subset_size));
    }
}

#[test]
fn subsets_that_cannot_be_are_refused() {
    let policy = "policy = \"CONSISTENT_HASH_SUBSETTING\"";
    let internal = |subsetting: &str| format!("{INTERNAL}subsetting = {{ {subsetting} }}\n");
    let cases = [
        ("subsets have a size", internal(policy)),
        ("a subset has a member", internal(&format!("{policy}, subset_size = 0"))),
        ("a subset has no more members than a service", internal(&format!("{policy}, subset_size = 1001"))),
        ("a size is that of a policy's subsets", internal("subset_size = 2")),
        ("a policy of none has no size", internal("policy = \"NONE\", subset_size = 2")),
        ("a policy is one of two", internal("policy = \"CONSISTENT_HASH\", subset_size = 2")),
        ("subsets are for INTERNAL services", format!("subsetting = {{ {policy}, subset_size = 2 }}\n")),
        (
            "weights contradict subsets",
            WEIGHTED.to_owned() + &internal(&format!("{policy}, subset_size = 2")),
        ),
    ];
    let mut shown = String::new();
    for (claim, service) in cases {
        match Config::parse("config.toml", &configuration(&service)) {
            Ok(_) => panic!("{claim}: was accepted"),
            Err(errors) => {
                writeln!(shown, "## {claim}\n{}", errors.render(false)).expect("a string takes it")
            }
        }
    }
    let mut settings = Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(shown));
}
