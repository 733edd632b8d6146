//! Counts and sizes of a configuration that are limited: the errors of one that goes beyond each.

use guideway_model::config::Config;
use insta::{Settings, assert_snapshot};

/// A right configuration, which each case fills beyond a limit.
const BASE: &str = include_str!("config_base.toml");

#[test]
fn everything_has_a_limit() {
    let message = |text: &str| {
        let errors = Config::parse("config.toml", text).expect_err("it is too much");
        errors.errors().iter().map(|error| format!("{}: {}\n", error.line, error.message)).collect::<String>()
    };
    let each = |count: usize, table: &dyn Fn(usize) -> String| (0..count).map(table).collect::<String>();
    let ranges = each(65, &|i| format!("\"10.0.{i}.0/24\", "));
    let checks = each(1_023, &|i| format!("[[health_check]]\nname = \"hc{i}\"\ntype = \"TCP\"\n"));
    let groups = each(51, &|i| format!("[[backend_group]]\nname = \"g{i}\"\nendpoints = []\n"));
    let members = each(51, &|i| format!("{{ group = \"g{i}\" }}, "));
    let endpoints =
        each(1_001, &|i| format!("{{ name = \"e{i}\", ip_address = \"10.0.{}.{}\" }}, ", i / 256, i % 256));
    let shown =
        [
            message(&BASE.replace("\"198.51.100.0/24\"", &ranges)),
            message(&format!("{BASE}{checks}")),
            message(&format!("{}{groups}", BASE.replace("{ group = \"segment\" }", &members))),
            message(&BASE.replace(
                "endpoints = [{ name = \"f1\"",
                &format!("endpoints = [{endpoints}{{ name = \"f1\""),
            )),
            message(&format!("{BASE}{}", "#".repeat(128 << 20))),
        ]
        .concat();
    let mut settings = Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(shown));
}
