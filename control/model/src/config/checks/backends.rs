//! Backends: all services together have no more than the conntrack table can name.

use std::collections::HashSet;

use crate::config::limits::MAX_BACKENDS;
use crate::config::names::Scope;
use crate::config::report::Report;
use crate::config::written::field::Field;

/// Reports the service whose endpoints, added to those of the services before it, are too many.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut total = 0;
    for (_, service) in scope.services.iter() {
        let members = service.backends.get().into_iter().flatten().filter_map(Field::get);
        let groups = members.filter_map(|member| scope.groups.find(&member.group));
        // A group that stands twice in a service is an error of its own.
        let mut seen = HashSet::new();
        let endpoints: usize =
            groups.filter(|(index, _)| seen.insert(*index)).map(|(_, group)| group.endpoints().count()).sum();
        total += endpoints;
        if total > MAX_BACKENDS {
            let message =
                format!("{total} backends up to this service, and at most {MAX_BACKENDS} are allowed");
            let help = "an endpoint counts once for each service that uses its group: split the configuration over \
                        several appliances";
            report.error(service.backends.span(), message, help);
            return;
        }
    }
}
