//! An HTTP/2 request: what probes of the type HTTP2 say, and what those of the type GRPC are spoken over.

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use hyper::header::USER_AGENT as USER_AGENT_HEADER;
use hyper::{Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::http::{MAX_HEADER_BYTES, encoded_path, judge_head};
use super::{ExpectedText, ProbeError, Target, USER_AGENT, WeightReport, drive};
use crate::config::HttpRequest;

/// How much of a body the peer may send: more than is looked at, for the sake of padding, and never extended.
const WINDOW_BYTES: u32 = 4 * 1024;

/// The largest frame: the smallest that the protocol allows to ask for (RFC 9113, section 6.5.2).
const MAX_FRAME_BYTES: u32 = 16 * 1024;

/// How much the peer may have a header table hold: nothing, as one answer has no use for it.
const HEADER_TABLE_BYTES: u32 = 0;

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
    let host = request.host.clone().unwrap_or_else(|| target.host());
    let question = Request::get(uri("https", &host, &encoded_path(&request.path))?)
        .header(USER_AGENT_HEADER, USER_AGENT)
        .body(())
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))?;

    let failed = |error: h2::Error| ProbeError::from_h2(&error);
    let (sender, connection) = start(stream).await?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(failed)?;
        let (answer, _) = sender.send_request(question, true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        let weight = judge_head(answer.status(), answer.headers())?;
        let mut body = answer.into_body();
        let mut is_found = expected.is_none();
        while !is_found {
            let piece = body.data().await.ok_or(ProbeError::UnexpectedAnswer)?.map_err(failed)?;
            is_found = expected.is_found_with(&piece)?;
        }
        Ok(weight)
    };
    drive(connection, exchange).await
}

/// Starts HTTP/2 on `stream`, by prior knowledge.
pub(super) async fn start<S>(stream: S) -> Result<(SendRequest<Bytes>, Connection<S, Bytes>), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .header_table_size(HEADER_TABLE_BYTES)
        .handshake(stream)
        .await
        .map_err(|error| ProbeError::from_h2(&error))
}

/// The URI of a request.
///
/// # Errors
/// `authority` is none, such as a host with a slash.
pub(super) fn uri(scheme: &str, authority: &str, path: &str) -> Result<Uri, ProbeError> {
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))
}
