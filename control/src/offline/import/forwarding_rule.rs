//! Forwarding rules of Google Cloud.

use super::backend_service::{is_of_proxies, scheme};
use super::directory::Directory;
use super::resource::{Fields, Kind, Resource};
use super::table::{Section, Table, WhenRefused, quoted};

/// Makes the table of a forwarding rule.
pub(super) fn table(mut resource: Resource, directory: &Directory) -> Table {
    let mut table = Table::begin(&mut resource, directory, "forwarding_rule");
    let fields = &mut resource.fields;
    let own = table.own();
    let scheme = scheme(fields);
    own.text("load_balancing_scheme", scheme.clone(), WhenRefused::Table);
    own.text("ip_address", fields.scalar("ip_address"), WhenRefused::Table);
    let protocol = fields.scalar("ip_protocol");
    own.text("ip_protocol", protocol.clone(), WhenRefused::Table);
    ports(fields, protocol.as_deref(), own);
    let sources = fields.scalars("source_ip_ranges");
    if !sources.is_empty() {
        own.line(format!("source_ip_ranges = {}", list(&sources)), WhenRefused::Table);
    }
    let global = fields.scalar("allow_global_access").filter(|global| global == "true");
    own.bare("allow_global_access", global, WhenRefused::Line);
    let service = fields.scalar("backend_service");
    let resolved = service.as_ref().and_then(|reference| directory.resolve(Kind::BackendService, reference));
    let missing = service.clone().filter(|_| resolved.is_none());
    own.text("backend_service", resolved.map(str::to_owned).or(service), WhenRefused::Table);

    let target = fields.scalar("target");
    table.rest(resource.fields);
    if let Some(scheme) = scheme.filter(|scheme| is_of_proxies(scheme)) {
        table.leave_out(format!("`{scheme}` is the scheme of a proxy, and Guideway passes packets on"));
    } else if let Some(target) = target {
        table.leave_out(format!("its `target` is `{target}`, and rules here lead to backend services"));
    } else if let Some(missing) = missing {
        table.leave_out(format!("its backend service `{missing}` is not among the files"));
    }
    table
}

/// Writes the ports in one way, where Google Cloud may tell them in two.
fn ports(fields: &mut Fields, protocol: Option<&str>, own: &mut Section) {
    let all = fields.scalar("all_ports").is_some_and(|all| all == "true") || protocol == Some("L3_DEFAULT");
    let (ports, range) = (fields.scalars("ports"), fields.scalar("port_range"));
    if all {
        own.line("all_ports = true".to_owned(), WhenRefused::Table);
    } else if !ports.is_empty() {
        // The range beside listed ports spans them.
        own.line(format!("ports = {}", list(&ports)), WhenRefused::Table);
    } else if let Some(range) = range {
        match range.split_once('-') {
            Some((first, last)) if first == last => {
                own.line(format!("ports = {}", list(&[first.to_owned()])), WhenRefused::Table);
            }
            Some(_) => own.text("port_range", Some(range), WhenRefused::Table),
            None => own.line(format!("ports = {}", list(&[range])), WhenRefused::Table),
        }
    } else {
        own.remark("`ports`: the rule has none, which means all");
        own.line("all_ports = true".to_owned(), WhenRefused::Table);
    }
}

/// List of numbers where they are some, and of texts.
fn list(texts: &[String]) -> String {
    let element = |text: &String| text.parse::<u16>().map_or_else(|_| quoted(text), |port| port.to_string());
    format!("[{}]", texts.iter().map(element).collect::<Vec<_>>().join(", "))
}
