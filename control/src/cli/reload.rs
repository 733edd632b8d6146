//! `guideway reload`: reloads the configuration file, whole or not at all.

use std::fmt::Write;

use clap::Args as Arguments;
use guideway::api::view::Reload;

use super::Exit;
use super::appliance::ApplianceArgs;

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    args.appliance.ask(async |client| client.reload(color).await, text)
}

/// Writes the changes and the warnings for people: a line each.
fn text(reload: &Reload) -> String {
    let mut text = String::new();
    for change in &reload.changes {
        let _ = writeln!(text, "{} {}", change.change.sign(), change.text);
    }
    for warning in &reload.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let nothing = if reload.changes.is_empty() { ": nothing has changed" } else { "" };
    let _ = writeln!(text, "configuration {} runs{nothing}", reload.configuration_generation);
    text
}
