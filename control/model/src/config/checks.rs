//! Rules that concern several tables: each is checked over the whole file.

mod announcements;
mod backends;
mod neighbor_replies;
mod networks;
mod ports;
mod precedence;
mod reach;
mod routes;

use super::announcement::Announcement;
use super::forwarding_rule::ForwardingRule;
use super::names::Scope;
use super::report::Report;
use super::written::field::elements;

/// Reports all that is wrong between tables; `rules` and `announcements` are those of the file, in its order, without
/// those that could not be parsed.
pub(super) fn check(
    scope: &Scope<'_>,
    rules: &[Option<ForwardingRule>],
    announcements: &[Option<Announcement>],
    report: &mut Report,
) {
    networks::check(scope, report);
    ports::check(scope, report);
    neighbor_replies::check(scope, report);
    precedence::check(&written(scope, rules), report);
    routes::check(scope, report);
    announcements::check(scope, announcements, rules, report);
    reach::check(scope, report);
    backends::check(scope, report);
}

/// Each rule as it is written, beside the rule, if it could be parsed.
fn written<'f>(scope: &Scope<'f>, rules: &'f [Option<ForwardingRule>]) -> Vec<precedence::Written<'f>> {
    let files = elements(&scope.file.forwarding_rule).iter();
    files.zip(rules).filter_map(|(file, rule)| Some((file.get()?, rule.as_ref()))).collect()
}
