//! Routes of Google Cloud.

use super::directory::Directory;
use super::resource::{Kind, Resource};
use super::table::{Table, WhenRefused};

/// Makes the table of a route.
pub(super) fn table(mut resource: Resource, directory: &Directory) -> Table {
    let name = directory.name_of(&resource);
    let network = directory.networks().first_of(Kind::Route, &name).map(str::to_owned);
    let mut table = Table::begin(&mut resource, directory, "route");
    let fields = &mut resource.fields;
    let own = table.own();
    own.text("dest_range", fields.scalar("dest_range"), WhenRefused::Table);
    let next_hop = fields.scalar("next_hop_ilb");
    let rule = next_hop.as_ref().map(|next_hop| {
        // The address of the rule, or one of its prefix, or its URL.
        let at_address = next_hop.parse().ok().and_then(|vip| directory.rule_at(network.as_deref(), vip));
        at_address.or(directory.resolve(Kind::ForwardingRule, next_hop)).unwrap_or(next_hop).to_owned()
    });
    own.text("next_hop_ilb", rule, WhenRefused::Table);
    table.rest(resource.fields);
    if next_hop.is_none() {
        table.leave_out("its next hop is no forwarding rule");
    }
    table
}
