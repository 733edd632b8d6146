//! Query, path and body of a request, read whole or refused with a reason.

use std::str::FromStr;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use guideway_model::flow_text::FlowText;
use serde::de::DeserializeOwned;

use super::failure::Failure;

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
        match Json::from_request(request, state).await {
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
        match String::from_request(request, state).await {
            Ok(text) => Ok(Self(text)),
            Err(wrong) => Err(Failure::unreadable(wrong.status(), "wrong_body", wrong.body_text())),
        }
    }
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
