//! Guard of the exporter: whoever asks must know the token, where there is one.
//!
//! Prometheus brings it as `Authorization: Bearer` (its `credentials_file`), a browser as the password that it asks for, by
//! whatever user name.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use guideway_model::config::AccessToken;
use subtle::ConstantTimeEq;

/// Ways to bring the token, the one that makes browsers ask first.
const CHALLENGES: [&str; 2] = ["Basic realm=\"Guideway\", charset=\"UTF-8\"", "Bearer realm=\"Guideway\""];

/// Answer to whoever does not bring it.
const REFUSAL: &str =
    "a token is needed, as a bearer token or as a password: `[metrics] token_file` names its file\n";

/// Lets a request pass that brings the token.
pub(super) async fn admit(State(token): State<Arc<AccessToken>>, request: Request, next: Next) -> Response {
    if brings(request.headers(), &token) {
        return next.run(request).await;
    }
    let mut response = (StatusCode::UNAUTHORIZED, REFUSAL).into_response();
    for challenge in CHALLENGES {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

fn brings(headers: &HeaderMap, token: &AccessToken) -> bool {
    // The time of a comparison does not tell how much of a guess was right.
    let is_right = |secret: Vec<u8>| bool::from(secret.ct_eq(token.as_bytes()));
    headers.get_all(header::AUTHORIZATION).iter().filter_map(secret).any(is_right)
}

/// Secret that a header brings.
fn secret(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    match () {
        () if scheme.eq_ignore_ascii_case("bearer") => Some(rest.into()),
        () if scheme.eq_ignore_ascii_case("basic") => {
            let pair = BASE64_STANDARD.decode(rest).ok()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            Some(pair[colon + 1..].into())
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_comes_as_a_bearer_token_or_as_the_password_of_anybody() {
        let token = AccessToken::of_text("0123456789:abcdef").expect("it is long enough");
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for (value, is_right) in [
            ("Bearer 0123456789:abcdef".to_owned(), true),
            ("bearer  0123456789:abcdef ".to_owned(), true),
            (basic("anybody:0123456789:abcdef"), true),
            (basic(":0123456789:abcdef"), true),
            ("Bearer 0123456789:abcdeg".to_owned(), false),
            ("Bearer 0123456789:abcde".to_owned(), false),
            ("Bearer ".to_owned(), false),
            ("0123456789:abcdef".to_owned(), false),
            ("Digest 0123456789:abcdef".to_owned(), false),
            (basic("0123456789abcdef"), false),
            (basic("0123456789:abcdef:"), false),
            ("Basic !".to_owned(), false),
        ] {
            let headers = HeaderMap::from_iter([(
                header::AUTHORIZATION,
                HeaderValue::from_str(&value).expect("it is a header"),
            )]);
            assert_eq!(brings(&headers, &token), is_right, "{value}");
        }
        assert!(!brings(&HeaderMap::new(), &token));
    }
}
