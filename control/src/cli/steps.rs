//! Steps of a packet's way in lines for people: those of `explain`, `replay --trace` and `trace`.

use std::fmt::Write;

use guideway_model::explain::{AccessStep, BackendStep, RuleStep, SelectionStep, SubsetStep, TrackingStep};

/// Names that a line lists at most; of more, their number is told.
const MOST_NAMES: usize = 20;

/// Text of one step a line, with a key before each.
#[derive(Debug, Default)]
pub(super) struct Steps(String);

impl Steps {
    pub(super) fn line(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key:<10} {value}");
    }

    pub(super) fn rule(&mut self, rule: &RuleStep) {
        if let Some(route) = &rule.route {
            self.line("route", route);
        }
        let matches = if rule.matches.is_empty() { String::new() } else { format!(" ({})", rule.matches) };
        self.line("rule", &format!("{}{matches}", rule.name));
        if let Some(AccessStep { name, prefix, admitted }) = &rule.access_list {
            let word = if *admitted { "admitted" } else { "denied" };
            let by = prefix.as_ref().map_or("by default".to_owned(), |prefix| format!("by {prefix}"));
            self.line("access", &format!("{word} {by} ({name})"));
        }
        self.line("service", &rule.backend_service);
    }

    /// Writes the eligible backends, and the hash that selects among them.
    pub(super) fn selection(&mut self, selection: &SelectionStep) {
        let pool = selection.pool.as_ref().map(|pool| format!(", {pool} pool")).unwrap_or_default();
        let (eligible, configured) = (&selection.eligible, selection.configured);
        self.line("eligible", &format!("{} of {configured}{pool}: {}", eligible.len(), names(eligible)));
        if !selection.left_out.is_empty() || eligible.is_empty() {
            self.line("because", &selection.because);
            let left_out = selection.left_out.iter().map(|left| format!("{} ({})", left.name, left.why));
            let left_out: Vec<String> = left_out.collect();
            if !left_out.is_empty() {
                self.line("left out", &names(&left_out));
            }
        }
        self.line("hash", &format!("{} over the {}", selection.hash, selection.tuple));
        if let Some(slot) = selection.slot {
            self.line("slot", &format!("{slot} of {}", selection.slots));
        }
        if let Some(SubsetStep { client, class, classes, seat, backends }) = &selection.subset {
            let (size, members) = (backends.len(), names(backends));
            self.line(
                "subset",
                &format!("{size} backends of class {class} of {classes}, by {client}: {members}"),
            );
            self.line("seat", &format!("{seat} of {size}"));
        }
    }

    pub(super) fn backend(&mut self, backend: &BackendStep, standing: Option<&str>) {
        let weight = backend.weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
        let standing = standing.map(|standing| format!(", {standing}")).unwrap_or_default();
        self.line("backend", &format!("{} ({}{weight}){standing}", backend.name, backend.address));
    }

    pub(super) fn tracking(&mut self, tracking: &TrackingStep) {
        if tracking.tracked {
            let persists = if tracking.persists_on_unhealthy { "stays on" } else { "leaves" };
            let (tuple, idle) = (&tracking.tuple, tracking.idle_timeout_sec);
            self.line("tracking", &format!("by the {tuple}; {persists} an unhealthy backend; idle {idle} s"));
        } else {
            self.line("tracking", "off: every packet goes by its hash");
        }
    }

    pub(super) fn verdict(&mut self, verdict: &str, reason: Option<&String>) {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.line("verdict", &format!("{verdict}{reason}"));
    }

    pub(super) fn vip_takes(&mut self, vip_takes: &[String]) {
        if !vip_takes.is_empty() {
            self.line("VIP takes", &format!("{} only", vip_takes.join("; ")));
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Lists names, as many as a line takes.
fn names(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMES) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
