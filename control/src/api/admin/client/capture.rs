//! A capture on the client's side: what is ordered, and the blocks that come.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::ClientError;
use super::pcapng_splitter::PcapngSplitter;
use crate::api::request::CaptureReason;

/// What a capture is to hold, and when it ends.
#[derive(Clone, Debug)]
pub struct CaptureOrder {
    /// Any of these.
    pub reasons: Vec<CaptureReason>,
    /// How many packets at most.
    pub packets: Option<u64>,
    /// How long at most.
    pub seconds: Option<u32>,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    body: Incoming,
    splitter: PcapngSplitter,
    socket: PathBuf,
}

impl Capture {
    /// Reads the capture from the body of an answer of the appliance on `socket`.
    pub(super) fn new(body: Incoming, socket: PathBuf) -> Self {
        Self { body, splitter: PcapngSplitter::default(), socket }
    }

    /// How many packets have come so far.
    pub fn packets(&self) -> u64 {
        self.splitter.packets()
    }

    /// How many packets that were wanted had no room on their way, as far as the appliance has told.
    pub fn missing(&self) -> u64 {
        self.splitter.missing()
    }

    /// The blocks that came next, each whole; none at the end.
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
