//! Probes by hand that go on: each operator's reply waits until the last one of a backend has ended.

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::api::request::Reply;
use crate::api::view::BackendProbes;
use crate::health::by_hand::HandProbe;

/// Probes by hand that go on.
#[derive(Debug, Default)]
pub(super) struct HandProbes {
    asked: Vec<Asked>,
}

/// Probes of one backend.
#[derive(Debug)]
struct Asked {
    service: String,
    backend: String,
    ended: oneshot::Receiver<Vec<HandProbe>>,
    reply: Reply<BackendProbes>,
}

/// Probes of one backend that have all ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Service of the backend.
    pub(super) service: String,
    /// Name of the backend.
    pub(super) backend: String,
    /// Answers, one for each rule.
    pub(super) probes: Vec<HandProbe>,
    /// Channel of whoever has asked.
    pub(super) reply: Reply<BackendProbes>,
}

impl HandProbes {
    /// Begins the probes of a backend.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub(super) fn begin(
        &mut self,
        service: String,
        backend: String,
        probing: impl Future<Output = Vec<HandProbe>> + 'static,
        reply: Reply<BackendProbes>,
    ) {
        let (end, ended) = oneshot::channel();
        // The receiver is gone if the supervisor has ended.
        tokio::task::spawn_local(async move { end.send(probing.await) });
        self.asked.push(Asked { service, backend, ended, reply });
    }

    /// Takes the probes that have ended.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        let (mut going_on, asked) = (Vec::new(), std::mem::take(&mut self.asked));
        for mut one in asked {
            let probes = match one.ended.try_recv() {
                Ok(probes) => probes,
                Err(TryRecvError::Empty) => {
                    going_on.push(one);
                    continue;
                }
                Err(TryRecvError::Closed) => Vec::new(),
            };
            let Asked { service, backend, reply, .. } = one;
            ended.push(Ended { service, backend, probes, reply });
        }
        self.asked = going_on;
        ended
    }
}
