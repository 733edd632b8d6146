//! Status page: the tables of `guideway top` in a browser, read-only, by the listener of the metrics.
//!
//! The page is whole without its script, which asks for its main part anew every two seconds and puts in what has changed.

mod board;
mod document;
mod trends;

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

pub(super) use board::Board;

use super::request_sender::RequestError;
use super::view::Condition;

/// Style, script and picture of the page: they come from the appliance itself, and nothing else may.
const STYLE: &str = include_str!("status_page/status.css");
const SCRIPT: &str = include_str!("status_page/status.js");
const ICON: &str = include_str!("status_page/status.svg");

/// Content that a browser may load for the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answer that the page's script asks for.
#[derive(Serialize)]
struct Update {
    condition: Condition,
    as_of_unix_sec: u64,
    title: String,
    html: String,
}

/// Routes of the page.
pub(super) fn routes(board: Arc<Board>) -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", get(page))
        .route("/status.json", get(update))
        .route("/status.css", file("text/css; charset=utf-8", STYLE))
        .route("/status.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/status.svg", file("image/svg+xml", ICON))
        .layer(middleware::from_fn(confined))
        .with_state(board)
}

/// Adds the headers that confine a browser.
async fn confined(request: HttpRequest, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(State(board): State<Arc<Board>>) -> Response {
    match board.show(|picture| document::page(picture, SystemTime::now())).await {
        Ok(html) => Html(html).into_response(),
        Err(error) => unanswered(&error),
    }
}

async fn update(State(board): State<Arc<Board>>) -> Response {
    let now = SystemTime::now();
    let draw = |picture: &board::Picture<'_>| Update {
        condition: picture.look.status.condition.clone(),
        as_of_unix_sec: now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        title: document::title(picture),
        html: document::state(picture, now),
    };
    match board.show(draw).await {
        Ok(update) => Json(update).into_response(),
        Err(error) => unanswered(&error),
    }
}

/// Answer where the appliance has none.
pub(super) fn unanswered(error: &RequestError) -> Response {
    let text = match error {
        RequestError::Stopping => "the appliance stops\n",
        RequestError::Late | RequestError::Refused(_) => "the appliance has not answered in time\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
