//! Requests that fail: the HTTP status of each, what is wrong, and how to right it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use guideway_model::config::{ConfigErrors, MAX_WEIGHT};
use guideway_model::service::UnknownName;

use super::peer::Access;
use crate::api::request::Refused;
use crate::api::request_sender::RequestError;
use crate::api::view::{ErrorView, LocatedError, NeighborReplies};

/// Names that an error lists.
const NAMES_SHOWN: usize = 20;

/// Failed request: an HTTP status and the body that explains it.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    view: Box<ErrorView>,
}

impl Failure {
    /// Creates a failure of this status, with a stable word and two sentences: the error and its remedy.
    pub(super) fn new(
        status: StatusCode,
        error: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let view = ErrorView {
            error: error.to_owned(),
            message: message.into(),
            help: help.into(),
            file: None,
            errors: Vec::new(),
            rendered: None,
        };
        Self { status, view: Box::new(view) }
    }

    /// Creates the failure of a request that got no answer, with errors of a configuration coloured for a
    /// terminal or plain.
    pub(super) fn unanswered(error: &RequestError, color: bool) -> Self {
        match error {
            RequestError::Refused(refused) => Self::refused(refused, color),
            RequestError::Stopping => Self::stopping(),
            RequestError::Late => Self::busy(),
        }
    }

    /// Creates the failure of a request to an appliance that stops, and answers nothing more.
    fn stopping() -> Self {
        let help = "start it again, and ask then";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the appliance stops", help)
    }

    /// Creates the failure of a request that the supervisor has not answered in time.
    fn busy() -> Self {
        let message = "the appliance has not answered in time";
        let help = "ask again; if that does not help, look at its log and at the load of its control core";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message, help)
    }

    /// Creates the failure of a request whose body has not come whole in time: a supervisor that is late is told of earlier.
    pub(super) fn incomplete() -> Self {
        let message = "the request's body has not come whole in time";
        let help = "send as many bytes as its `content-length` says";
        Self::new(StatusCode::REQUEST_TIMEOUT, "incomplete_request", message, help)
    }

    /// Creates the failure of a request that its peer may not make.
    pub(super) fn forbidden(access: Access, uid: Option<u32>) -> Self {
        let who = uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
        match access {
            Access::Nothing => {
                let help = "be root, or a member of `[admin] read_group` or `write_group`";
                Self::new(
                    StatusCode::FORBIDDEN,
                    "no_access",
                    format!("{who} may not ask the appliance"),
                    help,
                )
            }
            Access::Read | Access::Write => {
                let message = format!("{who} may look at the appliance, and change or capture nothing");
                let help = "be root, or a member of `[admin] write_group`";
                Self::new(StatusCode::FORBIDDEN, "read_only", message, help)
            }
        }
    }

    /// Creates the failure of a request for a weight that no backend can have.
    pub(super) fn weight_out_of_range(weight: u64) -> Self {
        let message = format!("a weight of {weight}, and the largest is {MAX_WEIGHT}");
        let help = format!("choose one of 0 to {MAX_WEIGHT}; only their proportions count");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "weight_out_of_range", message, help)
    }

    /// Creates the failure of a request whose query, path or body cannot be read.
    pub(super) fn unreadable(status: StatusCode, error: &str, what: impl Into<String>) -> Self {
        Self::new(status, error, what, "docs/admin.md has an example of each request")
    }

    /// Creates the failure of a wrong configuration file, rendered with colours for a terminal or plain.
    fn config(errors: &ConfigErrors, color: bool) -> Self {
        let mut failure = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wrong_configuration",
            format!("{} is wrong; the running configuration stays as it is", errors.name()),
            "right what `errors` lists, then reload again",
        );
        let located = |error: &guideway_model::config::ConfigError| LocatedError {
            file: error.file.clone(),
            line: error.line,
            column: error.column,
            message: error.message.clone(),
            help: error.help.clone(),
        };
        failure.view.file = Some(errors.name().to_owned());
        failure.view.errors = errors.errors().iter().map(located).collect();
        failure.view.rendered = Some(errors.render(color));
        failure
    }

    /// Creates the failure that a refusal comes to.
    fn refused(refused: &Refused, color: bool) -> Self {
        let (missing, conflict) = (StatusCode::NOT_FOUND, StatusCode::CONFLICT);
        match refused {
            Refused::UnknownName(unknown) => {
                let (word, verb) = match unknown {
                    UnknownName::Service(_) => ("unknown_service", "guideway status"),
                    UnknownName::Network(_) => ("unknown_network", "guideway status"),
                    UnknownName::Backend(..) => ("unknown_backend", "guideway backend list"),
                };
                Self::new(missing, word, unknown.to_string(), format!("`{verb}` lists those that there are"))
            }
            Refused::UnknownVip(address) => {
                let message = format!("{address} is the address of no forwarding rule");
                Self::new(missing, "unknown_vip", message, "`guideway vip list` lists the VIPs")
            }
            Refused::AmbiguousVip(address) => {
                let message = format!("{address} is a VIP of several networks");
                Self::new(conflict, "ambiguous_vip", message, "name one of them: `--network NAME`")
            }
            Refused::BackendRemoved { service, backend } => {
                let message = format!("backend `{backend}` of service `{service}` is no longer configured");
                let help =
                    "it drains, and gets no new connections; configure it again and reload to change it";
                Self::new(conflict, "backend_removed", message, help)
            }
            Refused::ServiceNotWeighted(service) => {
                let message = format!("service `{service}` does not choose by weight");
                let help = "set its `locality_lb_policy` to \"WEIGHTED_MAGLEV\" and reload";
                Self::new(conflict, "service_not_weighted", message, help)
            }
            Refused::VipNotAnnounceable { address, neighbor_replies } => {
                let when = match neighbor_replies {
                    NeighborReplies::Always => "always",
                    NeighborReplies::WhenAnnounced => "only when it is announced",
                    NeighborReplies::Never => "never",
                };
                let message = format!("the appliance answers for {address} {when}");
                let help = "set `neighbor_replies` of its forwarding rules to \"WHEN_ANNOUNCED\" and reload";
                Self::new(conflict, "vip_not_announceable", message, help)
            }
            Refused::CaptureRunning => {
                let message = "another capture, a watch of connections or a trace runs";
                Self::new(conflict, "capture_running", message, "end one of them, or wait for its end")
            }
            Refused::UnknownAmong { kind, name, known } => {
                let help = format!("there are {}", some_of(known));
                Self::new(missing, &format!("unknown_{kind}"), format!("there is no {kind} `{name}`"), help)
            }
            Refused::AmbiguousBackend { backend, services } => {
                let message = format!("a backend `{backend}` is in several services: {}", some_of(services));
                Self::new(conflict, "ambiguous_backend", message, "name one of them: `--service NAME`")
            }
            Refused::ListRunning => {
                let message = "another list of connections is being made";
                let help =
                    "ask again when it is there; `guideway conntrack get` finds one connection at once";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "list_running", message, help)
            }
            Refused::ReloadedMeanwhile => {
                let message = "the configuration was reloaded while the list was made";
                Self::new(conflict, "reloaded_meanwhile", message, "ask again")
            }
            Refused::WhatIfRunning => {
                let message = "another plan, explanation or lookup table is being made";
                Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "what_if_running",
                    message,
                    "ask again when it is there",
                )
            }
            Refused::RemovalsUnconfirmed(removals) => {
                let message =
                    format!("the file removes {removals}; the running configuration stays as it is");
                let help =
                    "if that is meant, `guideway reload --yes`; `guideway reload --dry-run` shows what goes";
                Self::new(conflict, "removals_unconfirmed", message, help)
            }
            Refused::Config(errors) => Self::config(errors, color),
            Refused::ConfigUnreadable { path, error } => {
                let message = format!("cannot read {}: {error}", path.display());
                let help =
                    "the running configuration stays as it is; make the file readable, then reload again";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable_configuration", message, help)
            }
            Refused::Stopping => Self::stopping(),
        }
    }
}

/// Writes names, and how many more there are where there are many.
fn some_of(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::unanswered(&error, false)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.view)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_an_answer_is_a_service_unavailable() {
        for (error, word) in [(RequestError::Late, "busy"), (RequestError::Stopping, "stopping")] {
            let failure = Failure::from(error);
            assert_eq!((failure.status.as_u16(), failure.view.error.as_str()), (503, word));
        }
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names: Vec<String> = (0..22).map(|number| format!("b{number}")).collect();
        assert!(some_of(&names).ends_with("`b19` and 2 more"));
        assert_eq!((some_of(&names[..2]), some_of(&[])), ("`b0`, `b1`".to_owned(), "none".to_owned()));
    }

    #[test]
    fn a_refusal_has_its_status_and_names_the_remedy() {
        let vip = "203.0.113.10".parse().unwrap();
        let unknown = UnknownName::Service("web".into());
        for (refused, status, word, help) in [
            (Refused::UnknownName(unknown), 404, "unknown_service", "guideway status"),
            (Refused::UnknownVip(vip), 404, "unknown_vip", "guideway vip list"),
            (Refused::AmbiguousVip(vip), 409, "ambiguous_vip", "--network"),
            (Refused::ServiceNotWeighted("web".into()), 409, "service_not_weighted", "WEIGHTED_MAGLEV"),
            (
                Refused::VipNotAnnounceable { address: vip, neighbor_replies: NeighborReplies::Always },
                409,
                "vip_not_announceable",
                "WHEN_ANNOUNCED",
            ),
            (Refused::CaptureRunning, 409, "capture_running", "wait for its end"),
            (
                Refused::UnknownAmong { kind: "backend", name: "x".into(), known: vec!["web/a".into()] },
                404,
                "unknown_backend",
                "there are `web/a`",
            ),
            (
                Refused::AmbiguousBackend { backend: "a".into(), services: vec!["web".into(), "dns".into()] },
                409,
                "ambiguous_backend",
                "--service NAME",
            ),
            (Refused::ListRunning, 429, "list_running", "conntrack get"),
            (Refused::ReloadedMeanwhile, 409, "reloaded_meanwhile", "ask again"),
            (Refused::WhatIfRunning, 429, "what_if_running", "ask again"),
            (Refused::Stopping, 503, "stopping", "start it again"),
        ] {
            let failure = Failure::from(RequestError::Refused(refused));
            assert_eq!((failure.status.as_u16(), failure.view.error.as_str()), (status, word));
            assert!(failure.view.help.contains(help), "{}", failure.view.help);
        }
    }
}
