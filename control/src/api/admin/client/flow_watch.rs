//! A watch of connections on the client's side: a line of JSON each second.

use std::path::PathBuf;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use super::error::ClientError;
use super::{Client, query};
use crate::api::packet_filter::PacketFilter;
use crate::api::view::WatchedFlows;

/// Longest line, a bound on what is kept of one that never ends.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Running watch of connections.
#[derive(Debug)]
pub struct FlowWatch {
    body: Incoming,
    socket: PathBuf,
    /// Bytes behind the last whole line.
    rest: Vec<u8>,
}

impl Client {
    /// Starts to watch connections by their packets; the watch ends after `count` lines or so many seconds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn conntrack_watch(
        &self,
        filter: &PacketFilter,
        count: Option<u64>,
        seconds: Option<u32>,
    ) -> Result<FlowWatch, ClientError> {
        let (count, seconds) =
            (count.map(|count| count.to_string()), seconds.map(|seconds| seconds.to_string()));
        let [service, backend, client, vip, flow] = filter.parts();
        let query = query([
            ("count", count.as_deref()),
            ("seconds", seconds.as_deref()),
            (service.0, service.1.as_deref()),
            (backend.0, backend.1.as_deref()),
            (client.0, client.1.as_deref()),
            (vip.0, vip.1.as_deref()),
            (flow.0, flow.1.as_deref()),
        ]);
        let path = format!("/v1/conntrack/watch{query}");
        let answer = self.in_time(self.send(Method::GET, &path, None)).await?;
        let body = self.accepted(answer).await?.into_body();
        Ok(FlowWatch { body, socket: self.socket.clone(), rest: Vec::new() })
    }
}

impl FlowWatch {
    /// Waits for the connections of the next second; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] where the appliance went away, or has written what is no line of a watch.
    pub async fn next(&mut self) -> Result<Option<WatchedFlows>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let flows =
                    serde_json::from_slice(&line).map_err(|error| self.unreadable(error.to_string()))?;
                return Ok(Some(flows));
            }
            if self.rest.len() > MAX_LINE_BYTES {
                return Err(self.unreadable("a line without an end".to_owned()));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| ClientError::Gone(self.socket.clone(), error))?;
            if let Ok(bytes) = frame.into_data() {
                self.rest.extend_from_slice(&bytes);
            }
        }
    }

    fn unreadable(&self, what: String) -> ClientError {
        ClientError::Unreadable(self.socket.clone(), what)
    }
}
