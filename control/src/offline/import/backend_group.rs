//! Network endpoint groups and instance groups of Google Cloud.

use std::net::IpAddr;

use guideway_dataplane::delivery::DeliveryMode;

use super::Options;
use super::directory::Directory;
use super::resource::{Fields, Kind, Resource};
use super::table::{Table, WhenRefused, quoted};
use super::url::Url;

/// Makes the tables of a group, with the endpoints that other files say are in it: one for each network of its services, as a
/// group here is of one.
pub(super) fn tables(
    resource: &Resource,
    others: &[Fields],
    directory: &mut Directory,
    options: &Options,
) -> Vec<Table> {
    let name = directory.name_of(resource);
    let networks: Vec<Option<String>> =
        directory.networks().all_of(Kind::BackendGroup, &name).iter().cloned().map(Some).collect();
    let networks = if networks.is_empty() { vec![None] } else { networks };
    let of_network = |network: Option<String>| {
        let mut table = table(resource.clone(), others.to_vec(), network.as_deref(), directory, options);
        let own_name = directory.networks().group_in(&name, network.as_deref());
        if own_name != name {
            table.rename(&own_name, network.as_deref());
        }
        table
    };
    networks.into_iter().map(of_network).collect()
}

fn table(
    mut resource: Resource,
    others: Vec<Fields>,
    network: Option<&str>,
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
        endpoint(&mut member, network, directory, options, &mut table);
        rest.push(member);
    }
    table.own().line("]".to_owned(), WhenRefused::Table);
    for fields in rest {
        table.rest(fields);
    }
    table.rest(resource.fields);
    table
}

fn endpoint(
    member: &mut Fields,
    network: Option<&str>,
    directory: &mut Directory,
    options: &Options,
    table: &mut Table,
) {
    let instance = member.scalar("instance").or_else(|| member.scalar("name"));
    let [ipv4, ipv6] =
        instance.as_deref().map(|instance| directory.addresses_of(instance, network)).unwrap_or_default();
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
