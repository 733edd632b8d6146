//! Network endpoint groups and instance groups of Google Cloud.

use std::net::IpAddr;

use guideway_dataplane::delivery::DeliveryMode;

use super::Options;
use super::directory::Directory;
use super::resource::{Fields, Resource};
use super::table::{Table, WhenRefused, quoted};
use super::url::Url;

/// Makes the table of a group, with the endpoints that other files say are in it.
pub(super) fn table(
    mut resource: Resource,
    others: Vec<Fields>,
    directory: &mut Directory,
    options: &Options,
) -> Table {
    let mut table = Table::begin(&mut resource, directory, "backend_group");
    let own = table.own();
    if options.delivery != DeliveryMode::L2 {
        own.text("delivery", Some(options.delivery.as_str().to_owned()), WhenRefused::Table);
    }
    let endpoints = resource.fields.objects("endpoints");
    let instances = resource.fields.objects("instances");
    let members: Vec<Fields> = endpoints.into_iter().chain(instances).chain(others).collect();
    let size = resource.fields.number("size");
    match size {
        None if members.is_empty() => own.remark("its endpoints are not among the files: add them here"),
        Some(size) if members.len() as u64 != size => {
            own.remark(format!(
                "{} of its {size} endpoints are among the files: add the others here",
                members.len()
            ));
        }
        _ => {}
    }
    own.line("endpoints = [".to_owned(), WhenRefused::Table);
    let mut rest = Vec::new();
    for mut member in members {
        // The list of a group's endpoints wraps each, beside its health.
        if let Some(inner) = member.object("network_endpoint") {
            rest.push(std::mem::replace(&mut member, inner));
        }
        endpoint(&mut member, directory, options, &mut table);
        rest.push(member);
    }
    table.own().line("]".to_owned(), WhenRefused::Table);
    for fields in rest {
        table.rest(fields);
    }
    table.rest(resource.fields);
    table
}

fn endpoint(member: &mut Fields, directory: &mut Directory, options: &Options, table: &mut Table) {
    let instance = member.scalar("instance").or_else(|| member.scalar("name"));
    let [ipv4, ipv6] =
        instance.as_deref().map(|instance| directory.addresses_of(instance)).unwrap_or_default();
    let own = member.scalar("ip_address").filter(|address| !address.is_empty());
    let address = own.or(ipv4).or_else(|| member.scalar("ipv6_address")).or(ipv6);
    let title = instance
        .as_deref()
        .map_or("an endpoint".to_owned(), |name| format!("instance `{}`", Url::new(name).name()));
    let Some(address) = address else {
        table.own().remark(format!("left out: {title}: its address is not among the files"));
        return;
    };
    let has_source = address.parse().is_ok_and(|address| options.has_source_to(address));
    if !has_source && address.parse::<IpAddr>().is_ok() {
        table.own().remark(format!(
            "left out: {title} at `{address}`: the tunnel has no source address of its family, which \
             `--ipv4-address` and `--ipv6-address` give"
        ));
        return;
    }
    let name = directory.endpoint(instance.as_deref(), &address);
    let line = format!("    {{ name = {}, ip_address = {} }},", quoted(&name), quoted(&address));
    table.own().line(line, WhenRefused::Line);
}
