//! Guard of the admin interface: refuses what a peer may not do, and writes a line to the log for every change.

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use super::peer::{Access, AccessRules, Peer};

/// Longest text of a request that the log shows, in characters.
const MAX_SHOWN: usize = 256;

/// Lets a request through that its peer may make.
pub(super) async fn guarded(
    State(rules): State<AccessRules>,
    Extension(peer): Extension<Option<Peer>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let (needed, access) = (needed(method, path), rules.access(peer.as_ref()));
    let audited = is_change(method, path).then(|| (method.clone(), shown(&request)));
    let response = if access >= needed {
        next.run(request).await
    } else {
        let mut refusal = Failure::forbidden(access, peer.as_ref().map(|peer| peer.uid)).into_response();
        // A client that is refused holds no slot.
        refusal.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        refusal
    };
    if let Some((verb, object)) = audited {
        let (uid, pid) = (peer.as_ref().map(|peer| peer.uid), peer.and_then(|peer| peer.pid));
        let status = response.status().as_u16();
        let kind = "admin_change";
        tracing::info!(kind, uid, pid, %verb, object, status, "an operator's request to change something");
    }
    response
}

/// True if a request changes something.
fn is_change(method: &Method, path: &str) -> bool {
    // A plan is a question, whose configuration comes as a body.
    !method.is_safe() && path != "/v1/plan"
}

/// Rights that a request takes: captures show what clients and backends say to each other.
fn needed(method: &Method, path: &str) -> Access {
    let shows_packets = ["/v1/capture", "/v1/trace", "/v1/conntrack/watch"];
    let is_shown = shows_packets.iter().any(|route| path.starts_with(route));
    if is_change(method, path) || is_shown { Access::Write } else { Access::Read }
}

/// Path and query of a request, without anything that a terminal would take for a command.
fn shown(request: &Request) -> String {
    let uri = request.uri();
    let text = uri.path_and_query().map_or(uri.path(), |whole| whole.as_str());
    text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn questions_take_less_than_changes_and_captures() {
        for (method, path, access) in [
            (Method::GET, "/v1/status", Access::Read),
            (Method::POST, "/v1/plan", Access::Read),
            (Method::GET, "/v1/capture", Access::Write),
            (Method::GET, "/v1/trace", Access::Write),
            (Method::GET, "/v1/conntrack/watch", Access::Write),
            (Method::GET, "/v1/conntrack", Access::Read),
            (Method::POST, "/v1/reload", Access::Write),
            (Method::PUT, "/v1/services/web/backends/a/weight", Access::Write),
            (Method::DELETE, "/v1/anything", Access::Write),
        ] {
            assert_eq!(needed(&method, path), access, "{method} {path}");
        }
        assert!(!is_change(&Method::GET, "/v1/capture"), "it is not of the audit");
    }

    #[test]
    fn a_line_of_the_log_is_short() {
        let request = Request::builder().uri(format!("/v1/reload?{}", "a".repeat(900)));
        assert_eq!(shown(&request.body(Body::empty()).expect("a request")).len(), MAX_SHOWN);
    }
}
