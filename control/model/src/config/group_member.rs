//! The backend groups of a service: each a primary or a failover group, with endpoints that can be told apart.

use std::collections::HashMap;
use std::net::IpAddr;

use super::limits::{MAX_ENDPOINTS_OF_A_SERVICE, MAX_MEMBERS_OF_A_KIND};
use super::names::Scope;
use super::report::{Report, Span};
use super::written::field::Field;
use super::written::file::{BackendGroupFile, BackendServiceFile, EndpointFile, MemberFile};

/// A backend group of a service, primary or failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Index of the group in [`super::Config::groups`].
    pub group: usize,
    /// True if the group is a failover group, false if it is a primary.
    pub failover: bool,
}

/// Parses the groups of a service: at least one is a primary, none stands twice, and their endpoints are unique among
/// them.
pub(super) fn parse(
    service: &BackendServiceFile,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Vec<GroupMember>> {
    let list = &service.backends;
    let written = list.get()?;
    if written.is_empty() {
        report.error(list.span(), "a backend service without backend groups", "add `{ group = \"…\" }`");
        return None;
    }
    let members: Vec<_> = written.iter().map(|member| parse_one(member.get()?, scope, report)).collect();
    for member in written.iter().filter_map(Field::get) {
        check_network(service, member, scope, report);
    }

    for (failover, noun) in [(false, "primary"), (true, "failover")] {
        let of_a_kind = || members.iter().flatten().filter(|member| member.failover == failover);
        if of_a_kind().count() > MAX_MEMBERS_OF_A_KIND {
            let count = of_a_kind().count();
            let message = format!("{count} {noun} groups, and a service has at most {MAX_MEMBERS_OF_A_KIND}");
            report.error(list.span(), message, "put the endpoints into fewer groups");
        }
    }
    if members.iter().all(|member| member.is_some_and(|member| member.failover)) {
        let help = "leave out `failover = true` where traffic should go while all is well";
        report.error(list.span(), "every group of the service is a failover group", help);
    }
    check_twice(written, &members, report);
    check_endpoints(service, scope, report);
    members.into_iter().collect()
}

fn parse_one(member: &MemberFile, scope: &Scope<'_>, report: &mut Report) -> Option<GroupMember> {
    let group = scope.groups.resolve(&member.group, report);
    Some(GroupMember { group: group?, failover: member.failover()? })
}

/// Reports a group of another network than the service's.
fn check_network(service: &BackendServiceFile, member: &MemberFile, scope: &Scope<'_>, report: &mut Report) {
    let Some((_, group)) = scope.groups.find(&member.group) else { return };
    let networks = &scope.networks;
    let (Some(own), Some(theirs)) = (networks.find(&service.network), networks.find(&group.network)) else {
        return;
    };
    let (Some(service_name), Some(name), true) = (service.name.get(), group.name.get(), own != theirs) else {
        return;
    };
    let (own, theirs) = (networks.name(own), networks.name(theirs));
    let span_of_group = group.network.as_ref().map_or(group.name.span(), Field::span);
    report.error_beside(
        member.group.span(),
        format!(
            "backend service `{}` is in network `{own}`, and its backend group `{}` in `{theirs}`",
            service_name.0, name.0
        ),
        format!("write `network = \"{own}\"` in both, or `\"{theirs}\"`: a packet leaves by its own network"),
        [(service.span_of_network(), format!("in `{own}`")), (span_of_group, format!("in `{theirs}`"))],
    );
}

fn check_twice(written: &[Field<MemberFile>], members: &[Option<GroupMember>], report: &mut Report) {
    let mut seen: HashMap<usize, &Span> = HashMap::new();
    for (field, member) in written.iter().zip(members) {
        let Some(member) = member else { continue };
        if let Some(earlier) = seen.insert(member.group, field.span()) {
            let message = "a group stands twice in one service";
            report.error_beside(field.span(), message, "name it once", [(earlier, "the first".to_owned())]);
        }
    }
}

/// Reports endpoints that occur twice within a service: health and weight belong to a pair of service and endpoint
/// name, and an address that occurs twice would get a double share.
fn check_endpoints(service: &BackendServiceFile, scope: &Scope<'_>, report: &mut Report) {
    let mut groups: Vec<(usize, &BackendGroupFile)> = Vec::new();
    for member in service.backends.get().into_iter().flatten().filter_map(Field::get) {
        let Some(group) = scope.groups.find(&member.group) else { continue };
        if groups.iter().all(|(index, _)| *index != group.0) {
            groups.push(group);
        }
    }

    let count: usize = groups.iter().map(|(_, group)| group.endpoints().count()).sum();
    if count > MAX_ENDPOINTS_OF_A_SERVICE {
        let message = format!("{count} endpoints, and a service has at most {MAX_ENDPOINTS_OF_A_SERVICE}");
        report.error(service.backends.span(), message, "spread them over several services");
    }

    let mut names: HashMap<&str, (usize, &Span)> = HashMap::new();
    let mut addresses: HashMap<IpAddr, (usize, &Span)> = HashMap::new();
    for (index, group) in groups {
        for endpoint in group.endpoints() {
            let EndpointFile { name, ip_address, .. } = endpoint;
            let service = service.name.get().map_or("", |name| name.0.as_str());
            if let Some(text) = name.get() {
                let earlier = *names.entry(&text.0).or_insert((index, name.span()));
                if earlier.0 != index {
                    let message = format!("backend service `{service}` has two endpoints named `{}`", text.0);
                    let related = [(earlier.1, "the first, in another group".to_owned())];
                    report.error_beside(name.span(), message, "rename one of them", related);
                }
            }
            if let Some(address) = ip_address.copied() {
                let earlier = *addresses.entry(address).or_insert((index, ip_address.span()));
                if earlier.0 != index {
                    let message = format!("backend service `{service}` has two endpoints at `{address}`");
                    let related = [(earlier.1, "the first, in another group".to_owned())];
                    report.error_beside(ip_address.span(), message, "leave one of them out", related);
                }
            }
        }
    }
}
