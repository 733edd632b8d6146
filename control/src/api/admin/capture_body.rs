//! A capture as the body of an answer: blocks as they come, until the capture or the server ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Body of a capture: ends when the supervisor drops its end of the channel, or when `end` comes; what was
/// sent until then arrives whole. When the client goes away, the body is dropped, and the supervisor finds
/// its channel closed.
pub(super) struct CaptureBody {
    blocks: mpsc::Receiver<Bytes>,
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl CaptureBody {
    /// Creates a body of what comes from `blocks` until `end`.
    pub(super) fn new(blocks: mpsc::Receiver<Bytes>, end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { blocks, end: Some(Box::pin(end)) }
    }
}

/// Stop signal of the server, for answers that have no end of their own; the channel closes when the server stops.
#[derive(Clone, Debug)]
pub(super) struct ServerStop(pub(super) watch::Receiver<()>);

impl ServerStop {
    /// Waits until the server stops, for no longer than `limit` where there is one.
    pub(super) async fn or_after(mut self, limit: Option<Duration>) {
        // Nothing is ever sent: the channel only closes.
        let stops = self.0.changed();
        match limit {
            Some(limit) => drop(timeout(limit, stops).await),
            None => drop(stops.await),
        }
    }
}

impl Body for CaptureBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { blocks, end } = self.get_mut();
        if end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            *end = None;
            // What waits in the channel still comes, and then its end.
            blocks.close();
        }
        blocks.poll_recv(context).map(|block| block.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::BodyExt;
    use tokio::time::sleep;

    use super::*;

    fn on_a_paused_clock(test: impl Future<Output = ()>) {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let test = async { timeout(Duration::from_secs(600), test).await.expect("an end in time") };
        builder.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn blocks_that_were_sent_in_time_come_whole() {
        on_a_paused_clock(async {
            let (sender, blocks) = mpsc::channel(4);
            let body = CaptureBody::new(blocks, sleep(Duration::from_secs(5)));
            let body = tokio::spawn(body.collect());
            sender.send(Bytes::from_static(b"one")).await.unwrap();
            sleep(Duration::from_secs(4)).await;
            sender.send(Bytes::from_static(b"two")).await.unwrap();
            assert_eq!(body.await.unwrap().unwrap().to_bytes(), "onetwo", "the sender is still there");
            assert!(sender.is_closed());
        });
    }

    #[test]
    fn a_capture_ends_with_its_sender() {
        on_a_paused_clock(async {
            let (sender, blocks) = mpsc::channel(4);
            sender.send(Bytes::from_static(b"one")).await.unwrap();
            drop(sender);
            let body = CaptureBody::new(blocks, pending()).collect().await.unwrap();
            assert_eq!(body.to_bytes(), "one");
        });
    }

    #[test]
    fn a_body_that_nobody_reads_any_more_closes_the_channel() {
        on_a_paused_clock(async {
            let (sender, blocks) = mpsc::channel(4);
            drop(CaptureBody::new(blocks, pending()));
            sender.closed().await;
        });
    }
}
