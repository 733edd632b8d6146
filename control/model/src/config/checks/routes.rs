//! Routes: no two share a prefix.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::config::report::{Report, Span};
use crate::config::written::field::{Field, elements};
use crate::config::written::file::ConfigFile;

/// Reports prefixes that two routes share: the longest prefix could not tell them apart.
pub(super) fn check(file: &ConfigFile, report: &mut Report) {
    let mut seen: HashMap<IpNet, &Span> = HashMap::new();
    for field in elements(&file.route).iter().filter_map(Field::get).map(|route| &route.dest_range) {
        let Some(range) = field.copied() else { continue };
        if let Some(earlier) = seen.insert(range, field.span()) {
            let message = format!("two routes to `{range}`");
            let help = "leave one of them out";
            report.error_beside(field.span(), message, help, [(earlier, "the first".to_owned())]);
        }
    }
}
