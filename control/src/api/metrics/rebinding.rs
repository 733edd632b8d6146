//! Defence against DNS rebinding: a page from anywhere, in a browser on this machine, whose own name suddenly means 127.0.0.1.
//!
//! Such a page asks by its name. Whoever comes to an address of loopback, which the machine alone reaches, therefore asks by an
//! address or as `localhost`, also where the listener is on all addresses. Another address may have any name, and is open to
//! such a page in a browser that reaches it: the token closes it. Pages that ask by the address cannot read the answer, and are
//! refused where the browser tells.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::http_server::LocalAddress;

/// Answer to whoever asks by a name.
const WRONG_NAME: &str = "loopback is of the machine itself, and is asked by its address or as `localhost`: let a proxy \
                          pass on the address as `Host`, or set `[metrics] token_file`, with which every name will do\n";

/// Answer to another site's page.
const WRONG_PAGE: &str = "a page of another site may not ask\n";

/// True if nobody but this machine reaches an address.
fn is_of_machine(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Lets a request pass that has come to an address which others reach, or that asks by an address or as `localhost`, and is no
/// other site's page's.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    let is_of_machine = |LocalAddress(address): &LocalAddress| is_of_machine(*address);
    match () {
        () if !request.extensions().get().is_none_or(is_of_machine) => next.run(request).await,
        () if !asks_machine(request.uri(), request.headers()) => {
            (StatusCode::MISDIRECTED_REQUEST, WRONG_NAME).into_response()
        }
        () if is_of_other_page(request.headers()) => (StatusCode::FORBIDDEN, WRONG_PAGE).into_response(),
        () => next.run(request).await,
    }
}

/// True if every name that a request has for its listener is the machine's own. Browsers always send one.
fn asks_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::HOST).iter();
    let mut named = named.map(|host| Authority::try_from(host.as_bytes()).ok());
    uri.authority().is_none_or(is_machine)
        && named.all(|host| host.is_some_and(|authority| is_machine(&authority)))
}

fn is_machine(authority: &Authority) -> bool {
    let host = authority.host();
    let name = host.strip_suffix('.').unwrap_or(host);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// True if a browser tells that another site's page asks, and not somebody who follows a link there.
fn is_of_other_page(headers: &HeaderMap) -> bool {
    let told = |name: &'static str| headers.get(HeaderName::from_static(name)).map(HeaderValue::as_bytes);
    let is_other = matches!(told("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
    let follows = told("sec-fetch-mode") == Some(b"navigate") && told("sec-fetch-dest") == Some(b"document");
    is_other && !follows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("it is a value"))
        };
        HeaderMap::from_iter(lines.iter().map(line))
    }

    #[test]
    fn a_machine_is_asked_by_addresses_and_as_localhost() {
        for (host, is_right) in [
            ("127.0.0.1:9477", true),
            ("127.0.0.1", true),
            ("[::1]:9477", true),
            ("192.0.2.1:80", true),
            ("localhost:9477", true),
            ("LocalHost.", true),
            ("evil.example:9477", false),
            ("127.0.0.1.evil.example:9477", false),
            ("localhost.evil.example", false),
            ("[::1", false),
            ("", false),
        ] {
            assert_eq!(asks_machine(&Uri::from_static("/"), &headers(&[("host", host)])), is_right, "{host}");
        }
        assert!(asks_machine(&Uri::from_static("/"), &HeaderMap::new()), "HTTP/1.0 knows no host");
        let mut two = headers(&[("host", "localhost")]);
        let absolute = Uri::from_static("http://evil.example/metrics");
        assert!(!asks_machine(&absolute, &two), "the line of the request counts");
        two.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!asks_machine(&Uri::from_static("/"), &two));
    }

    #[test]
    fn other_sites_may_link_here_and_not_ask() {
        for (site, mode, dest, is_refused) in [
            ("cross-site", "no-cors", "image", true),
            ("cross-site", "cors", "empty", true),
            ("same-site", "cors", "empty", true),
            ("cross-site", "navigate", "iframe", true),
            ("cross-site", "navigate", "document", false),
            ("same-origin", "cors", "empty", false),
            ("none", "navigate", "document", false),
        ] {
            let told =
                headers(&[("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]);
            assert_eq!(is_of_other_page(&told), is_refused, "{site} {mode} {dest}");
        }
        assert!(!is_of_other_page(&HeaderMap::new()), "no browser");
    }

    #[test]
    fn loopback_alone_is_of_the_machine() {
        for (listener, is_own) in [
            ("127.0.0.1:9477", true),
            ("127.0.1.1:9477", true),
            ("[::1]:9477", true),
            ("[::ffff:127.0.0.1]:9477", true),
            ("0.0.0.0:9477", false),
            ("[::]:9477", false),
            ("192.0.2.1:9477", false),
        ] {
            assert_eq!(is_of_machine(listener.parse().expect("an address")), is_own, "{listener}");
        }
    }
}
