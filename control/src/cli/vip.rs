//! `guideway vip`: shows VIPs, announces and withdraws them.

use clap::{Args as Arguments, Subcommand};
use guideway::api::view::Vip;
use guideway_model::config::VipRange;

use super::amount::yes_no;
use super::appliance::ApplianceArgs;
use super::{Exit, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists VIPs, and whether the appliance answers for them.
    List(List),
    /// Starts to answer ARP and neighbour discovery for a VIP, and tells its neighbours.
    Announce(One),
    /// Stops answering ARP and neighbour discovery for a VIP.
    Withdraw(One),
}

#[derive(Arguments)]
struct List {
    #[command(flatten)]
    appliance: ApplianceArgs,
}

#[derive(Arguments)]
struct One {
    /// Address or prefix of a VIP whose rules have `neighbor_replies = "WHEN_ANNOUNCED"`.
    address: VipRange,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let one = |vip: &Vip| text(std::slice::from_ref(vip));
    match &args.verb {
        Verb::List(List { appliance }) => {
            appliance.ask(async |client| client.vip_list().await, |list| text(&list.vips))
        }
        Verb::Announce(One { address, appliance }) => {
            appliance.ask(async |client| client.vip_announce(*address).await, one)
        }
        Verb::Withdraw(One { address, appliance }) => {
            appliance.ask(async |client| client.vip_withdraw(*address).await, one)
        }
    }
}

/// Writes VIPs for people.
pub(super) fn text(vips: &[Vip]) -> String {
    let mut rows = table::new(&["VIP", "NEIGHBOR REPLIES", "ANNOUNCED", "RULES", "CONFLICTS"]);
    for vip in vips {
        rows.add_row([
            vip.address.to_string(),
            vip.neighbor_replies.to_string(),
            yes_no(vip.announced),
            vip.forwarding_rules.join(", "),
            vip.conflicts.to_string(),
        ]);
    }
    table::text(rows, 4..5)
}
