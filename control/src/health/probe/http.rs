//! An HTTP/1.1 request: what probes of the types HTTP and HTTPS say.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, USER_AGENT as USER_AGENT_HEADER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ExpectedText, ProbeError, Target, USER_AGENT, WeightReport, drive};
use crate::config::HttpRequest;

/// The longest status line with its headers, which is what common servers and clients take too. hyper reads into a
/// buffer of that size, so that it bounds what is kept of a body as well.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The most headers that an answer may have.
const MAX_HEADERS: usize = 100;

/// Asks, and judges the answer.
pub(super) async fn ask<S>(
    stream: S,
    request: &HttpRequest,
    target: &Target,
) -> Result<WeightReport, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut expected = ExpectedText::new(&request.response);
    let question = Request::get(encoded_path(&request.path))
        .header(HOST, request.host.clone().unwrap_or_else(|| target.host()))
        .header(USER_AGENT_HEADER, USER_AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))?;

    let failed = |error: hyper::Error| ProbeError::from_hyper(&error);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let exchange = async {
        let answer = sender.send_request(question).await.map_err(failed)?;
        let weight = judge_head(answer.status(), answer.headers())?;
        let mut body = answer.into_body();
        let mut is_found = expected.is_none();
        while !is_found {
            let frame = body.frame().await.ok_or(ProbeError::UnexpectedAnswer)?.map_err(failed)?;
            // Trailers are no part of the body.
            if let Some(piece) = frame.data_ref() {
                is_found = expected.is_found_with(piece)?;
            }
        }
        Ok(weight)
    };
    drive(connection, exchange).await
}

/// What the head of an answer says.
///
/// # Errors
/// The status is another than 200. Redirects are not followed, as Google Cloud's probes do not.
pub(super) fn judge_head(status: StatusCode, headers: &HeaderMap) -> Result<WeightReport, ProbeError> {
    if status != StatusCode::OK {
        return Err(ProbeError::Status(status.as_u16()));
    }
    Ok(WeightReport::read(headers))
}

/// The configured path, which is visible ASCII, as a URI can hold it.
pub(super) fn encoded_path(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_A_PATH).to_string()
}

/// RFC 3986, section 3.3 and 3.4: what can stand neither in a path nor in a query. The percent sign can: the path may
/// be encoded already.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
