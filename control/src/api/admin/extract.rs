//! Query, path and body of a request, read whole or refused with a reason.

use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use guideway_model::flow_text::FlowText;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::failure::Failure;

/// Longest time that a request's body may take to come.
const BODY_TIME: Duration = Duration::from_secs(40);

/// Query of a request: `?service=web&limit=10`.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(wrong) => Err(Failure::unreadable(wrong.status(), "wrong_query", wrong.body_text())),
        }
    }
}

/// Names in a request's path.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(path)) => Ok(Self(path)),
            Err(wrong) => Err(Failure::unreadable(wrong.status(), "wrong_path", wrong.body_text())),
        }
    }
}

/// JSON body of a request.
pub(super) struct Brought<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Brought<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match in_time(Json::from_request(request, state)).await? {
            Ok(Json(body)) => Ok(Self(body)),
            Err(wrong) => Err(Failure::unreadable(wrong.status(), "wrong_body", wrong.body_text())),
        }
    }
}

/// Text that is a request's body, whatever its type is said to be.
pub(super) struct Written(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Written {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match in_time(String::from_request(request, state)).await? {
            Ok(text) => Ok(Self(text)),
            Err(wrong) => Err(Failure::unreadable(wrong.status(), "wrong_body", wrong.body_text())),
        }
    }
}

/// Waits for a body, for no longer than [`BODY_TIME`]; the answer has a limit of its own.
async fn in_time<T>(body: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(BODY_TIME, body).await.map_err(|_| Failure::incomplete())
}

/// Reads a flow.
pub(super) fn flow_of(text: &str) -> Result<FlowText, Failure> {
    FlowText::from_str(text).map_err(|wrong| {
        Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_flow", wrong.to_string())
    })
}

/// Answers a request for an unknown route.
pub(super) async fn no_such_route(request: Request) -> Failure {
    let what = format!("there is no {}", request.uri().path());
    Failure::new(StatusCode::NOT_FOUND, "unknown_route", what, "docs/admin.md lists the routes")
}

/// Answers a request for a route that does not take its method.
pub(super) async fn no_such_method(request: Request) -> Failure {
    let what = format!("{} does not take {}", request.uri().path(), request.method());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", what, "docs/admin.md lists the routes")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::body::Body;
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::api::admin::capture_body::CaptureBody;
    use crate::api::admin::routes::router;
    use crate::api::request::{Refused, Request as Asked};
    use crate::api::request_sender::RequestSender;

    fn on_a_paused_clock(test: impl Future<Output = ()>) {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let test = async { timeout(Duration::from_secs(600), test).await.expect("an end in time") };
        builder.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
    }

    /// Request with a body whose parts a test sends.
    fn request() -> (mpsc::Sender<Bytes>, Request) {
        let (parts, body) = mpsc::channel(1);
        let request = Request::post("/v1/plan").body(Body::new(CaptureBody::new(body, pending())));
        (parts, request.expect("it is right"))
    }

    #[test]
    fn a_body_that_does_not_come_is_told_of() {
        on_a_paused_clock(async {
            let before = Instant::now();
            let (_parts, request) = request();
            let failure = Written::from_request(request, &()).await.map(|_| ()).expect_err("it has no end");
            assert_eq!(failure.into_response().status(), StatusCode::REQUEST_TIMEOUT);
            assert_eq!(before.elapsed(), BODY_TIME);
        });
    }

    #[test]
    fn a_body_that_came_whole_is_not_blamed_for_a_late_answer() {
        on_a_paused_clock(async {
            let (asks, mut asked) = mpsc::channel(1);
            let (parts, request) = request();
            let client = async {
                sleep(Duration::from_secs(30)).await;
                parts.send(Bytes::from_static(b"text")).await.expect("somebody reads");
                drop(parts);
            };
            let supervisor = async {
                let Some(Asked::Plan { reply, .. }) = asked.recv().await else { panic!("another request") };
                sleep(Duration::from_secs(29)).await;
                let _ = reply.send(Err(Refused::WhatIfRunning));
            };
            let routes = TowerToHyperService::new(router(RequestSender::new(asks)));
            let (answer, (), ()) = tokio::join!(routes.call(request), client, supervisor);
            assert_eq!(answer.expect("it is one").status(), StatusCode::TOO_MANY_REQUESTS);
        });
    }
}
