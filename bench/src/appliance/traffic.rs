//! Queues that always have a full burst: UDP datagrams of many flows, and the far end's answers to probes.

use std::collections::VecDeque;

use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::BURST;
use guideway_engine::driver::{Burst, QueuePair};
use guideway_engine::mbuf::Mbuf;
use pcap_fixtures::packet::Packet;

use super::{OWN_MAC, far_end};

/// The flows of one worker.
const FLOWS: u16 = 16_384;

/// Frames that wait to be filled again. The control thread sends more than it gets, and the surplus is freed.
const IDLE: usize = 4 * BURST;

/// The queues of one worker.
pub(super) struct Traffic {
    datagrams: Vec<Vec<u8>>,
    next: usize,
    idle: Vec<Mbuf>,
    answers: VecDeque<Mbuf>,
}

impl Traffic {
    /// Queues of the worker of this number, which has flows of its own.
    pub(super) fn new(worker: usize) -> Self {
        let source = format!("198.51.100.{}", worker + 1);
        let datagram = |flow| {
            let packet = Packet::between(&source, "203.0.113.0").udp(1_024 + flow, 443);
            packet.macs([2, 0, 0, 0, 0, 9], OWN_MAC).payload_len(18).build()
        };
        let datagrams = (0..FLOWS).map(datagram).collect();
        Self { datagrams, next: 0, idle: Vec::new(), answers: VecDeque::new() }
    }
}

impl QueuePair for Traffic {
    type Frame = Mbuf;

    fn rx_burst(&mut self, burst: &mut Burst<Mbuf>) {
        while !burst.is_full()
            && let Some(answer) = self.answers.pop_front()
        {
            burst.push(answer);
        }
        while !burst.is_full() {
            let mut mbuf = self.idle.pop().unwrap_or_default();
            mbuf.fill(&self.datagrams[self.next]);
            self.next = if self.next + 1 == self.datagrams.len() { 0 } else { self.next + 1 };
            burst.push(mbuf);
        }
    }

    fn tx_burst(&mut self, burst: &mut Burst<Mbuf>) {
        for mut mbuf in burst.drain(..) {
            if let Some(answer) = far_end::answer(mbuf.bytes()) {
                mbuf.fill(&answer);
                self.answers.push_back(mbuf);
            } else if self.idle.len() < IDLE {
                self.idle.push(mbuf);
            }
        }
    }

    fn refused(&self) -> u64 {
        0
    }
}
