//! Lengths of lists: how many elements each may have.

use super::field::{Field, elements};
use super::file::ConfigFile;
use super::one_or_more::tables;
use crate::config::limits::{
    MAX_ACCESS_LISTS, MAX_ANNOUNCEMENTS, MAX_APPLIANCE_PORTS, MAX_ENDPOINTS_OF_A_GROUP, MAX_GROUPS,
    MAX_HEALTH_CHECKS, MAX_INCLUDES, MAX_MEMBERS_OF_A_KIND, MAX_NETWORKS, MAX_ROUTES, MAX_RULES,
    MAX_SERVICES,
};
use crate::config::report::Report;

/// Reports lists that are too long, and returns true if there are none: code that looks at every pair of their elements
/// relies on it.
pub(in crate::config) fn check(file: &ConfigFile, report: &mut Report) -> bool {
    let mut within = limit("patterns of `include`", elements(&file.include), MAX_INCLUDES, report);
    within &= limit("forwarding rules", elements(&file.forwarding_rule), MAX_RULES, report);
    within &= limit("backend services", elements(&file.backend_service), MAX_SERVICES, report);
    within &= limit("backend groups", elements(&file.backend_group), MAX_GROUPS, report);
    within &= limit("health checks", elements(&file.health_check), MAX_HEALTH_CHECKS, report);
    within &= limit("access lists", elements(&file.access_list), MAX_ACCESS_LISTS, report);
    within &= limit("routes", elements(&file.route), MAX_ROUTES, report);
    within &= limit("announcements", elements(&file.announcement), MAX_ANNOUNCEMENTS, report);
    within &= limit("ports", elements(&file.port), MAX_APPLIANCE_PORTS, report);
    within &= limit("networks", tables(&file.network), MAX_NETWORKS, report);
    for service in elements(&file.backend_service).iter().filter_map(Field::get) {
        let members = service.backends.get().map_or(&[][..], Vec::as_slice);
        within &= limit("backend groups of one service", members, 2 * MAX_MEMBERS_OF_A_KIND, report);
    }
    for group in elements(&file.backend_group).iter().filter_map(Field::get) {
        within &=
            limit("endpoints of one group", elements(&group.endpoints), MAX_ENDPOINTS_OF_A_GROUP, report);
    }
    within
}

/// Reports the first element beyond a limit, and returns true if there is none.
pub(in crate::config) fn limit<T>(
    noun: &str,
    elements: &[Field<T>],
    limit: usize,
    report: &mut Report,
) -> bool {
    let beyond = elements.get(limit);
    if let Some(first) = beyond {
        let message = format!("{} {noun}, and at most {limit} are allowed", elements.len());
        report.error(first.span(), message, "leave out those from here on");
    }
    beyond.is_none()
}
