//! The connections of probes and their backends, joined by a wire in memory, on a clock that goes from event
//! to event.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use guideway::net::probe_tcp::{ConnectionId, HOP_LIMIT, Limits, Peer, ProbeTcp};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::network::OwnAddresses;

use crate::far_end::FarEnd;

/// Turns after which a test has failed: far more than any needs.
const MOST_TURNS: usize = 200_000;

pub(crate) const PORT: u16 = 80;

pub(crate) fn vip() -> IpAddr {
    "203.0.113.10".parse().unwrap()
}

pub(crate) fn peer(backend: u32) -> Peer {
    Peer { backend: BackendHandle(backend), vip: vip(), port: PORT }
}

pub(crate) fn own() -> OwnAddresses {
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap().into());
    OwnAddresses { ipv4: address("192.0.2.1"), ipv6: address("2001:db8::1") }
}

/// The faults of the wire, in both directions.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wire {
    /// One packet in this many is lost.
    pub(crate) loses: Option<usize>,
    /// One packet in this many is overtaken by the next.
    pub(crate) delays: Option<usize>,
}

pub(crate) struct Lab {
    pub(crate) stack: ProbeTcp,
    pub(crate) backends: BTreeMap<BackendHandle, FarEnd>,
    pub(crate) now: Duration,
    pub(crate) wire: Wire,
    /// Every packet that left the stack.
    pub(crate) sent: Vec<(BackendHandle, Vec<u8>)>,
    packets: usize,
    delayed: VecDeque<(BackendHandle, Vec<u8>, bool)>,
}

impl Lab {
    pub(crate) fn new(backends: impl IntoIterator<Item = (u32, FarEnd)>) -> Self {
        Self {
            stack: ProbeTcp::new(own(), 7, Limits::default()),
            backends: backends.into_iter().map(|(handle, far)| (BackendHandle(handle), far)).collect(),
            now: Duration::ZERO,
            wire: Wire::default(),
            sent: Vec::new(),
            packets: 0,
            delayed: VecDeque::new(),
        }
    }

    /// Carries every packet that can be carried at this moment.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            self.stack.poll(self.now);
            let mut moved = false;
            while let Some(outgoing) = self.stack.transmit() {
                moved = true;
                let packet = outgoing.packet;
                let is_ipv4 = packet[0] >> 4 == 4;
                assert_eq!(packet[if is_ipv4 { 8 } else { 7 }], HOP_LIMIT);
                self.sent.push((outgoing.backend, packet.clone()));
                self.carry(outgoing.backend, packet, true);
            }
            let backends: Vec<_> = self.backends.keys().copied().collect();
            for backend in backends {
                for packet in self.backends.get_mut(&backend).unwrap().turn(None, self.now) {
                    moved = true;
                    self.carry(backend, packet, false);
                }
            }
            if !moved && self.delayed.is_empty() {
                return;
            }
            // With nothing behind it, a packet is not overtaken.
            if !moved {
                while let Some((backend, packet, to_backend)) = self.delayed.pop_front() {
                    self.arrive(backend, &packet, to_backend);
                }
            }
        }
        panic!("the wire does not come to rest");
    }

    /// Lets the time pass until something is due, at most until `end`; true if something was due.
    pub(crate) fn wait(&mut self, end: Duration) -> bool {
        let now = self.now;
        let due = self.backends.values_mut().filter_map(|far| far.next(now));
        let due = due.chain(self.stack.next_poll()).min();
        match due {
            Some(due) if due <= end => {
                self.now = due.max(self.now + Duration::from_micros(1));
                true
            }
            _ => {
                self.now = end;
                false
            }
        }
    }

    /// Lets everything happen until `end`.
    pub(crate) fn run_until(&mut self, end: Duration) {
        for _ in 0..MOST_TURNS {
            self.settle();
            if !self.wait(end) {
                return self.settle();
            }
        }
        panic!("there is always something due");
    }

    /// Drives clients until each is done, or `end` is there.
    pub(crate) fn serve(&mut self, clients: &mut [Client], end: Duration) {
        for _ in 0..MOST_TURNS {
            // A reader makes room, which lets more come at the same moment.
            let mut progress = true;
            while progress {
                self.settle();
                progress = false;
                for client in clients.iter_mut() {
                    progress |= client.drive(&mut self.stack);
                }
            }
            if clients.iter().all(|client| client.outcome.is_some()) || !self.wait(end) {
                return;
            }
        }
        panic!("the clients do not come to an end");
    }

    fn carry(&mut self, backend: BackendHandle, packet: Vec<u8>, to_backend: bool) {
        self.packets += 1;
        let hits = |every: Option<usize>| every.is_some_and(|every| self.packets.is_multiple_of(every));
        if hits(self.wire.loses) {
            return;
        }
        if hits(self.wire.delays) {
            self.delayed.push_back((backend, packet, to_backend));
            return;
        }
        self.arrive(backend, &packet, to_backend);
        while let Some((backend, packet, to_backend)) = self.delayed.pop_front() {
            self.arrive(backend, &packet, to_backend);
        }
    }

    fn arrive(&mut self, backend: BackendHandle, packet: &[u8], to_backend: bool) {
        if !to_backend {
            self.stack.handle(packet, self.now);
        } else if let Some(far) = self.backends.get_mut(&backend) {
            for answer in far.turn(Some(packet), self.now) {
                self.carry(backend, answer, false);
            }
        }
    }
}

/// A client that sends a request and reads the answer to its end.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    pub(crate) outcome: Option<io::Result<Vec<u8>>>,
    request: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn new(lab: &mut Lab, peer: Peer, request: &[u8]) -> Self {
        let id = lab.stack.connect(peer, lab.now).unwrap();
        Self { id, outcome: None, request: request.to_vec(), sent: 0, received: Vec::new() }
    }

    /// Goes as far as it can now; true if that was any step.
    fn drive(&mut self, stack: &mut ProbeTcp) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        let mut progress = false;
        loop {
            match self.step(stack, &mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return progress,
                Poll::Ready(Ok(true)) => progress = true,
                Poll::Ready(Ok(false)) => {
                    self.outcome = Some(Ok(std::mem::take(&mut self.received)));
                    return true;
                }
                Poll::Ready(Err(error)) => {
                    self.outcome = Some(Err(error));
                    return true;
                }
            }
        }
    }

    fn step(&mut self, stack: &mut ProbeTcp, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        std::task::ready!(stack.poll_established(self.id, cx))?;
        if self.sent < self.request.len() {
            self.sent += std::task::ready!(stack.poll_send(self.id, &self.request[self.sent..], cx))?;
            return Poll::Ready(Ok(true));
        }
        let mut buffer = [0; 1_000];
        let len = std::task::ready!(stack.poll_receive(self.id, &mut buffer, cx))?;
        self.received.extend_from_slice(&buffer[..len]);
        Poll::Ready(Ok(len > 0))
    }
}
