//! `guideway check`: is a configuration right, and what does it come to?

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args as Arguments;
use guideway::run::machine::Machine;
use guideway::run::warnings::warnings;
use guideway_dataplane::affinity::LoadBalancingScheme;
use guideway_model::config::{BackendService, Config, ConfigErrors};
use serde_json::json;

use super::config_choice::{ConfigArgs, headline, read};
use super::{Exit, Output, table};

#[derive(Arguments)]
pub(super) struct Args {
    /// Configuration file to check, in place of `--config`; `-` is standard input.
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "demo"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Accepts a configuration without ports, as captures can be replayed under, and which `run` refuses.
    #[arg(long)]
    replay: bool,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let sources = match &args.file {
        Some(file) => read(file),
        None => args.config.sources(),
    };
    let sources = match sources {
        Ok(sources) => sources,
        Err(exit) => return exit,
    };
    let parsed = if args.replay { Config::parse_sources(&sources) } else { Config::parse_to_run(&sources) };
    match (parsed, args.output) {
        (Ok(config), Output::Table) => super::print(&(headline(&sources.main.name) + &summary(&config))),
        (Ok(config), Output::Json) => super::print(&format!("{}\n", counts(&config))),
        (Err(errors), Output::Table) => {
            complain_text!("{}", errors.render(color));
            Exit::Config
        }
        (Err(errors), Output::Json) => match super::print(&format!("{}\n", listed(&errors))) {
            Exit::Success => Exit::Config,
            exit => exit,
        },
    }
}

/// Sums up the configuration: a line, one for each warning, and a table of its services.
fn summary(config: &Config) -> String {
    let mut summary = format!(
        "ok: {}, {}, {}, {}, {}\n",
        count(config.rules.len(), "forwarding rule"),
        count(config.services.len(), "backend service"),
        count(endpoints(config), "endpoint"),
        count(config.health_checks.len(), "health check"),
        count(config.routes.len(), "route"),
    );
    if config.has_several_networks() {
        let names: Vec<&str> = config.networks.iter().map(|network| &*network.name).collect();
        let _ = writeln!(summary, "{}: {}", count(names.len(), "network"), names.join(", "));
    }
    for warning in warnings(config, &Machine::look()) {
        let _ = writeln!(summary, "warning: {warning}");
    }
    if config.services.is_empty() {
        return summary;
    }
    let mut titles = vec!["SERVICE", "SCHEME", "RULES", "PRIMARIES", "FAILOVERS"];
    if config.has_several_networks() {
        titles.push("NETWORK");
    }
    let mut services = table::new(&titles);
    for (i, service) in config.services.iter().enumerate() {
        let rules: Vec<_> =
            config.rules.iter().filter(|rule| rule.service == i).map(|rule| &*rule.name).collect();
        let scheme = match service.scheme {
            LoadBalancingScheme::External => "EXTERNAL",
            LoadBalancingScheme::Internal => "INTERNAL",
        };
        let mut row = vec![
            service.name.clone(),
            scheme.to_owned(),
            rules.join(", "),
            members(config, service, false).to_string(),
            members(config, service, true).to_string(),
        ];
        if config.has_several_networks() {
            row.push(config.networks[service.network].name.clone());
        }
        services.add_row(row);
    }
    summary.push('\n');
    summary.push_str(&table::text(services, 3..5));
    summary
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn endpoints(config: &Config) -> usize {
    config.groups.iter().map(|group| group.endpoints.len()).sum()
}

/// Counts the endpoints of a service in its primary or its failover groups.
fn members(config: &Config, service: &BackendService, failover: bool) -> usize {
    let members = service.members.iter().filter(|member| member.failover == failover);
    members.map(|member| config.groups[member.group].endpoints.len()).sum()
}

fn counts(config: &Config) -> serde_json::Value {
    let mut counts = json!({
        "ok": true,
        "forwarding_rules": config.rules.len(),
        "backend_services": config.services.len(),
        "backend_groups": config.groups.len(),
        "endpoints": endpoints(config),
        "health_checks": config.health_checks.len(),
        "routes": config.routes.len(),
        "warnings": warnings(config, &Machine::look()).iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if config.has_several_networks() {
        counts["networks"] = config.networks.len().into();
    }
    counts
}

fn listed(errors: &ConfigErrors) -> serde_json::Value {
    json!({ "ok": false, "file": errors.name(), "errors": errors.errors() })
}
