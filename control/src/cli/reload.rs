//! `guideway reload`: reloads the configuration file, whole or not at all.

use std::fmt::Write;

use clap::Args as Arguments;
use guideway::api::view::Reload;

use super::appliance::ApplianceArgs;
use super::config_choice::headline;
use super::{Exit, plan};

#[derive(Arguments)]
pub(super) struct Args {
    /// Shows what the reload would change, and what would become of connections, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Confirms that every forwarding rule, or more than half of all backends, are to go.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let Args { dry_run, yes, appliance } = args;
    if *dry_run {
        let (socket, output) = (&appliance.socket, appliance.output);
        let plan = plan::live(socket, output, async |client| client.plan_own(color).await);
        return plan.map_or_else(|exit| exit, |plan| plan::print(&plan, output));
    }
    appliance.ask(async |client| client.reload(color, *yes).await, text)
}

/// Writes the changes and the warnings for people: a line each.
fn text(reload: &Reload) -> String {
    let mut text = if reload.config_path.is_empty() { String::new() } else { headline(&reload.config_path) };
    for change in &reload.changes {
        let _ = writeln!(text, "{} {}", change.change.sign(), change.text);
    }
    for warning in &reload.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let nothing = if reload.changes.is_empty() { "nothing changed: " } else { "" };
    let _ = writeln!(text, "{nothing}configuration {} runs", reload.configuration_generation);
    text
}
