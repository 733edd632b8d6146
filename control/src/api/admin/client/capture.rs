//! A capture on the client's side: what is ordered, and the blocks that come.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use super::error::ClientError;
use super::pcapng_splitter::PcapngSplitter;
use super::{Client, query};
use crate::api::packet_filter::PacketFilter;
use crate::api::request::{CaptureReason, Copies};

/// Order for a capture: the packets that it holds, and its end.
#[derive(Clone, Debug)]
pub struct CaptureOrder {
    /// Reasons for which a packet is captured: any of these; of none, packets of every end that agree with the filter.
    pub reasons: Vec<CaptureReason>,
    /// Packets that are captured.
    pub filter: PacketFilter,
    /// Copies of packets that are forwarded or answered.
    pub copies: Option<Copies>,
    /// Largest number of packets.
    pub packets: Option<u64>,
    /// Longest time, in seconds.
    pub seconds: Option<u32>,
}

/// Running capture.
#[derive(Debug)]
pub struct Capture {
    body: Incoming,
    splitter: PcapngSplitter,
    socket: PathBuf,
}

impl Client {
    /// Starts a capture.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn capture(&self, order: &CaptureOrder) -> Result<Capture, ClientError> {
        let reasons: Vec<_> = order.reasons.iter().map(|reason| reason.as_str()).collect();
        let reasons = (!reasons.is_empty()).then(|| reasons.join(","));
        let packets = order.packets.map(|packets| packets.to_string());
        let seconds = order.seconds.map(|seconds| seconds.to_string());
        let own = [
            ("reasons", reasons.as_deref()),
            ("as", order.copies.map(Copies::as_str)),
            ("packets", packets.as_deref()),
            ("seconds", seconds.as_deref()),
        ];
        let parts = order.filter.parts();
        let parts = parts.iter().map(|(name, value)| (*name, value.as_deref()));
        let query = query(own.into_iter().chain(parts));
        let answer = self.in_time(self.send(Method::GET, &format!("/v1/capture{query}"), None)).await?;
        let body = self.accepted(answer).await?.into_body();
        Ok(Capture::new(body, self.socket.clone()))
    }
}

impl Capture {
    /// Reads the capture from the body of an answer of the appliance on `socket`.
    pub(super) fn new(body: Incoming, socket: PathBuf) -> Self {
        Self { body, splitter: PcapngSplitter::default(), socket }
    }

    /// Packets received so far.
    pub fn packets(&self) -> u64 {
        self.splitter.packets()
    }

    /// Packets that were lost on their way for want of room, as far as the appliance has told.
    pub fn missing(&self) -> u64 {
        self.splitter.missing()
    }

    /// Waits for the next blocks, each whole; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] where the appliance went away; every block until then was whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let socket = || self.socket.clone();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ClientError::Gone(socket(), error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            let whole = self.splitter.take(&bytes);
            let whole = whole.map_err(|error| ClientError::Unreadable(socket(), error.to_string()))?;
            if !whole.is_empty() {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }
}
