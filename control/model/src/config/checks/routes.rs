//! Routes: no two of one network share a prefix.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::config::names::Scope;
use crate::config::report::{Report, Span};
use crate::config::written::field::{Field, elements};

/// Reports prefixes that two routes share: the longest prefix could not tell them apart.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut seen: HashMap<(usize, IpNet), &Span> = HashMap::new();
    for route in elements(&scope.file.route).iter().filter_map(Field::get) {
        let field = &route.dest_range;
        let (Some(range), Some(network)) = (field.copied(), scope.networks.find(&route.network)) else {
            continue;
        };
        if let Some(earlier) = seen.insert((network, range), field.span()) {
            let message = format!("two routes to `{range}`");
            let help = "leave one of them out";
            report.error_beside(field.span(), message, help, [(earlier, "the first".to_owned())]);
        }
    }
}
