//! Sends requests to the supervisor, and waits for each reply within a limit of time.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::request::{Refused, Reply, Request};

/// Longest wait for the supervisor's reply; a reload of the largest configuration takes a part of it.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Sender of requests to the supervisor; its clones share one bounded queue.
#[derive(Clone, Debug)]
pub(super) struct RequestSender(mpsc::Sender<Request>);

/// Reasons why a request has no answer.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The supervisor refused the request.
    Refused(Refused),
    /// The supervisor stops, and answers nothing more.
    Stopping,
    /// The supervisor has not answered in time.
    Late,
}

impl RequestSender {
    /// Creates a sender for the queue that the supervisor reads.
    pub(super) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self(requests)
    }

    /// Sends a request, and waits for its reply for no longer than [`ANSWER_TIME`].
    pub(super) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(request(reply)).await.map_err(|_| RequestError::Stopping)?;
            answer.await.map_err(|_| RequestError::Stopping)?.map_err(RequestError::Refused)
        };
        timeout(ANSWER_TIME, asked).await.unwrap_or(Err(RequestError::Late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(requests: &mpsc::Sender<Request>) -> RequestError {
        let requests = RequestSender::new(requests.clone());
        requests.ask(|reply| Request::VipList { reply }).await.unwrap_err()
    }

    #[test]
    fn a_supervisor_that_does_not_answer_keeps_nobody_waiting_for_ever() {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let test = async {
            let (requests, mut asks) = mpsc::channel(1);
            assert!(matches!(error(&requests).await, RequestError::Late), "it does not reply");
            assert!(matches!(error(&requests).await, RequestError::Late), "the queue is full");
            asks.close();
            assert!(matches!(error(&requests).await, RequestError::Stopping), "it is gone");
        };
        let test = async { timeout(Duration::from_secs(600), test).await.expect("an end in time") };
        builder.enable_time().start_paused(true).build().unwrap().block_on(test);
    }
}
