//! `guideway drops`: which packets were lost, why, and what is to be done?

use std::fmt::Write;

use clap::Args as Arguments;
use guideway::api::view::Drops;

use super::Exit;
use super::amount::count;
use super::watch::TableArgs;

#[derive(Arguments)]
pub(super) struct Args {
    /// Shows all reasons, also those for which no packet was lost.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    table: TableArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let all = args.all;
    let ask = async |client: guideway::api::admin::client::Client| {
        let mut drops = client.drops().await?;
        drops.drops.retain(|row| all || row.packets > 0);
        Ok(drops)
    };
    args.table.show(ask, text)
}

/// Writes the drops for people: a paragraph each.
fn text(drops: &Drops) -> String {
    if drops.drops.is_empty() {
        return "no packet was lost\n".to_owned();
    }
    let paragraph = |row: &guideway::api::view::DropRow| {
        let mut text = String::new();
        let packets = count(row.packets, "packet");
        let _ = writeln!(text, "{} ({}): {packets}", row.reason, row.counted_by.as_str());
        let _ = writeln!(text, "  {}\n  {}", row.meaning, row.help);
        text
    };
    drops.drops.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}
