//! `guideway vip`: shows VIPs, announces and withdraws them.

use clap::{Args as Arguments, Subcommand};
use guideway::api::view::Vip;
use guideway_model::config::VipRange;

use super::amount::yes_no;
use super::appliance::ApplianceArgs;
use super::watch::TableArgs;
use super::{Exit, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists VIPs; ANSWERS is `yes` while the appliance answers ARP and neighbour discovery for one.
    List(List),
    /// Starts to answer ARP and neighbour discovery for a VIP, and tells its neighbours.
    Announce(One),
    /// Stops answering ARP and neighbour discovery for a VIP.
    Withdraw(One),
}

#[derive(Arguments)]
struct List {
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Arguments)]
struct One {
    /// Address or prefix of a VIP whose rules have `neighbor_replies = "WHEN_ANNOUNCED"`.
    address: VipRange,
    /// Network of the VIP, where several have it.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let one = |vip: &Vip| text(std::slice::from_ref(vip));
    match &args.verb {
        Verb::List(List { table }) => {
            table.show(async |client| client.vip_list().await, |list| text(&list.vips))
        }
        Verb::Announce(One { address, network, appliance }) => {
            appliance.ask(async |client| client.vip_announce(*address, network.as_deref()).await, one)
        }
        Verb::Withdraw(One { address, network, appliance }) => {
            appliance.ask(async |client| client.vip_withdraw(*address, network.as_deref()).await, one)
        }
    }
}

/// Writes VIPs for people. What routers are told is in the announcements of `status`, and nowhere called the same.
pub(super) fn text(vips: &[Vip]) -> String {
    let mut titles = vec!["VIP", "NEIGHBOR REPLIES", "ANSWERS", "RULES", "CONFLICTS"];
    let are_several = vips.iter().any(|vip| vip.network.is_some());
    if are_several {
        titles.push("NETWORK");
    }
    let mut rows = table::new(&titles);
    for vip in vips {
        let mut row = vec![
            vip.address.to_string(),
            vip.neighbor_replies.to_string(),
            yes_no(vip.announced),
            vip.forwarding_rules.join(", "),
            vip.conflicts.to_string(),
        ];
        row.extend(are_several.then(|| vip.network.clone().unwrap_or_default()));
        rows.add_row(row);
    }
    table::text(rows, 4..5)
}
