//! Announcements: how routers learn the way to virtual IP addresses, and when.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::{MAX_ARGUMENTS, MAX_PROTOCOL_NAME};
use super::names::Scope;
use super::report::{Report, Span};
use super::written::choice::PolicyKind;
use super::written::field::{Field, elements};
use super::written::file::AnnouncementFile;
use super::written::lengths::limit;
use super::written::value::Ascii;

/// A way to tell routers about the virtual IP addresses of some rules, and the condition for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Name of the announcement, unique among announcements.
    pub name: String,
    /// Indices of the announced forwarding rules in [`super::Config::rules`], in the order of the file.
    pub rules: Vec<usize>,
    /// Condition for announcing.
    pub policy: AnnouncementPolicy,
    /// Shortest time from a withdrawal for want of health, or for a stalled worker, to the next announcement.
    pub hold_down: Duration,
    /// Way to tell routers.
    pub hook: Hook,
}

/// Condition for announcing, while the appliance is able to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnouncementPolicy {
    /// No condition: announces whatever health checks say.
    Always,
    /// Announces while a rule's service has enough healthy backends.
    Healthy {
        /// Number of healthy backends that are enough to stay announced.
        min_healthy: u32,
        /// Number of healthy backends that are enough to be announced after a withdrawal; at least `min_healthy`.
        min_healthy_up: u32,
    },
}

/// Way to tell routers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hook {
    /// Enables and disables a BIRD protocol that holds the route.
    Bird {
        /// Path of BIRD's control socket.
        socket: PathBuf,
        /// Name of the protocol in BIRD's configuration; nothing in it is a pattern to BIRD.
        protocol: String,
    },
    /// Runs a program with these first arguments; never empty.
    Command(Vec<String>),
}

impl Announcement {
    pub(super) fn parse(file: &AnnouncementFile, scope: &Scope<'_>, report: &mut Report) -> Option<Self> {
        let rules = file.rules(scope, report);
        let policy = file.parsed_policy(report);
        let hook = file.hook(report);
        let hold_down = Duration::from_secs(file.hold_down_sec()?.0.into());
        Some(Self {
            name: file.name.get()?.0.clone(),
            rules: rules?,
            policy: policy?,
            hold_down,
            hook: hook?,
        })
    }
}

impl AnnouncementFile {
    fn rules(&self, scope: &Scope<'_>, report: &mut Report) -> Option<Vec<usize>> {
        let Some(written) = &self.forwarding_rules else {
            return Some((0..elements(&scope.file.forwarding_rule).len()).collect());
        };
        let names = written.get()?;
        if names.is_empty() {
            report.error(
                written.span(),
                "no forwarding rules",
                "name at least one, or leave the key out for all",
            );
            return None;
        }
        let resolved: Vec<_> = names.iter().map(|name| scope.rules.resolve(name, report)).collect();
        let rules: BTreeSet<usize> = resolved.into_iter().collect::<Option<_>>()?;
        Some(rules.into_iter().collect())
    }

    fn parsed_policy(&self, report: &mut Report) -> Option<AnnouncementPolicy> {
        let kind = self.policy()?.0;
        let written = [("min_healthy", &self.min_healthy), ("min_healthy_up", &self.min_healthy_up)];
        for (key, written) in written {
            if let (PolicyKind::Always, Some(written)) = (kind, written) {
                report.error(
                    written.span(),
                    format!("`{key}` is for `policy = \"HEALTHY\"` only"),
                    "leave it out: this one announces whatever health checks say",
                );
            }
        }
        let min_healthy = self.min_healthy()?.0;
        let min_healthy_up = match &self.min_healthy_up {
            None => min_healthy,
            Some(written) => {
                let min_healthy_up = written.get()?.0;
                if kind == PolicyKind::Healthy && min_healthy_up < min_healthy {
                    report.error(
                        written.span(),
                        format!("`min_healthy_up` is {min_healthy_up}, below `min_healthy`, which is {min_healthy}"),
                        "write a number that is as large or larger, or leave it out",
                    );
                }
                min_healthy_up
            }
        };
        Some(match kind {
            PolicyKind::Always => AnnouncementPolicy::Always,
            PolicyKind::Healthy => AnnouncementPolicy::Healthy { min_healthy, min_healthy_up },
        })
    }

    fn hook(&self, report: &mut Report) -> Option<Hook> {
        let of_bird = self.bird_socket.as_ref().map(Field::span);
        let of_bird = of_bird.or(self.bird_protocol.as_ref().map(Field::span));
        match (of_bird, &self.command) {
            (Some(bird), Some(command)) => {
                report.error_beside(
                    command.span(),
                    "an announcement goes one way",
                    "keep either `bird_socket` with `bird_protocol`, or `command`",
                    [(bird, "it goes by BIRD already".to_owned())],
                );
                None
            }
            (None, None) => {
                report.error(
                    self.name.span(),
                    "an announcement that tells nobody",
                    "add `bird_socket` and `bird_protocol`, or `command`",
                );
                None
            }
            (None, Some(command)) => self::command(command, report),
            (Some(bird), None) => self.bird(bird, report),
        }
    }

    fn bird(&self, written: &Span, report: &mut Report) -> Option<Hook> {
        let (Some(socket), Some(protocol)) = (&self.bird_socket, &self.bird_protocol) else {
            let missing = if self.bird_socket.is_none() { "bird_socket" } else { "bird_protocol" };
            let message = format!("`{missing}` is missing");
            report.error(written, message, format!("add `{missing} = \"…\"`: BIRD is told by both"));
            return None;
        };
        let Ascii(name) = protocol.get()?;
        // Nothing that BIRD takes as a pattern, or as the end of its string.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if name.is_empty() || name.len() > MAX_PROTOCOL_NAME || !name.bytes().all(is_plain) {
            report.error(
                protocol.span(),
                format!("`{name}` is no name of a BIRD protocol"),
                format!(
                    "write 1 to {MAX_PROTOCOL_NAME} letters, digits and `_`, `-`, `.`, `:`, without quotes"
                ),
            );
            return None;
        }
        Some(Hook::Bird { socket: socket.get()?.clone(), protocol: name.clone() })
    }
}

fn command(written: &Field<Vec<Field<Ascii>>>, report: &mut Report) -> Option<Hook> {
    let words = written.get()?;
    limit("words of one command", words, MAX_ARGUMENTS, report);
    let words: Vec<_> = words.iter().map(|word| Some(word.get()?.0.clone())).collect::<Option<_>>()?;
    let is_path = words.first().is_some_and(|program| program.starts_with('/') && !program.ends_with('/'));
    if !is_path || words.iter().any(|word| word.contains('\0')) {
        report.error(
            written.span(),
            "a command begins with a program's whole path",
            "write `[\"/usr/local/bin/announce\"]`, with the program's first arguments after it",
        );
        return None;
    }
    Some(Hook::Command(words))
}
