//! `guideway drops`: which packets were lost, why, and what is to be done?

use std::fmt::Write;

use clap::Args as Arguments;
use guideway::api::view::Losses;

use super::Exit;
use super::amount::count;
use super::appliance::ApplianceArgs;

#[derive(Arguments)]
pub(super) struct Args {
    /// Shows reasons that no packet was lost for too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let all = args.all;
    let ask = async |client: guideway::api::admin::client::Client| {
        let mut losses = client.drops().await?;
        losses.drops.retain(|loss| all || loss.packets > 0);
        Ok(losses)
    };
    args.appliance.ask(ask, text)
}

/// The losses for people: a paragraph each.
fn text(losses: &Losses) -> String {
    if losses.drops.is_empty() {
        return "no packet was lost\n".to_owned();
    }
    let paragraph = |loss: &guideway::api::view::Loss| {
        let mut text = String::new();
        let packets = count(loss.packets, "packet");
        let _ = writeln!(text, "{} ({}): {packets}", loss.reason, loss.place.as_str());
        let _ = writeln!(text, "  {}\n  {}", loss.meaning, loss.help);
        text
    };
    losses.drops.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}
