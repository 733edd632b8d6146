//! Answers of lines on the client's side: a watch of connections, a trace of packets, as JSON line by line.

use std::marker::PhantomData;
use std::path::PathBuf;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::{Client, query};
use crate::api::packet_filter::PacketFilter;
use crate::api::view::{TracedPacket, WatchedFlows};

/// Longest line, a bound on what is kept of one that never ends.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Answer that goes on, of lines that are a `T` each.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    socket: PathBuf,
    /// Bytes behind the last whole line.
    rest: Vec<u8>,
    of: PhantomData<fn() -> T>,
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
    ) -> Result<Lines<WatchedFlows>, ClientError> {
        self.lines("/v1/conntrack/watch", filter, count, seconds).await
    }

    /// Starts to trace packets through every stage; the trace ends after `count` packets or so many seconds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn trace(
        &self,
        filter: &PacketFilter,
        count: u64,
        seconds: Option<u32>,
    ) -> Result<Lines<TracedPacket>, ClientError> {
        self.lines("/v1/trace", filter, Some(count), seconds).await
    }

    async fn lines<T>(
        &self,
        path: &str,
        filter: &PacketFilter,
        count: Option<u64>,
        seconds: Option<u32>,
    ) -> Result<Lines<T>, ClientError> {
        let (count, seconds) =
            (count.map(|count| count.to_string()), seconds.map(|seconds| seconds.to_string()));
        let own = [("count", count.as_deref()), ("seconds", seconds.as_deref())];
        let parts = filter.parts();
        let parts = parts.iter().map(|(name, value)| (*name, value.as_deref()));
        let query = query(own.into_iter().chain(parts));
        let answer = self.in_time(self.send(Method::GET, &format!("{path}{query}"), None)).await?;
        let body = self.accepted(answer).await?.into_body();
        Ok(Lines { body, socket: self.socket.clone(), rest: Vec::new(), of: PhantomData })
    }
}

impl<T: DeserializeOwned> Lines<T> {
    /// Waits for the next line; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] where the appliance went away, or has written another line than such an answer has.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let item =
                    serde_json::from_slice(&line).map_err(|error| self.unreadable(error.to_string()))?;
                return Ok(Some(item));
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
