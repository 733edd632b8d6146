//! Source of a replay's frames: a capture in memory, and its clones, which are the same packets from clients with
//! other addresses.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::Verdict;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::capture::{CaptureError, CaptureReader};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::publish::Publisher;

use super::client::Client;

/// Number of frames of a capture that are played at most.
pub(super) const MAX_FRAMES: usize = 4_000_000;

/// Number of the IPv4 prefixes of clones, of 24 bits each: 32.0.0.0 to 95.255.255.255. No packet leaves this process.
const IPV4_PREFIXES: u64 = 64 << 16;
const FIRST_IPV4_PREFIX: u64 = 32 << 16;

/// First of the IPv6 prefixes of clones, of 64 bits each: they begin with 3fff::/16 (RFC 9637: for documentation).
const FIRST_IPV6_PREFIX: u64 = 0x3fff << 48;

/// Frame of the capture.
struct Captured {
    bytes: Vec<u8>,
    wire_len: usize,
    client: Option<Named>,
}

/// Client of a frame, which has another address in each clone.
#[derive(Clone, Copy)]
struct Named {
    client: Client,
    address: Address,
    /// Index of the client's prefix among those of its family.
    index: u64,
}

/// Capture in memory, with what its clones need.
pub(super) struct Source {
    frames: Vec<Captured>,
    /// Times of the frames since the first one; never backwards.
    pub(super) times: Vec<Duration>,
    /// Time from the first frame of one pass to the first of the next.
    pub(super) length: Duration,
    /// Number of prefixes that the clients have, by family.
    prefixes: [u64; 2],
    /// Forwarded flows whose client has another address in each clone, and those that are the same in all.
    cloned_flows: u64,
    same_flows: u64,
}

impl Source {
    /// Reads a capture into memory.
    ///
    /// # Errors
    /// If the capture cannot be read to its end.
    pub(super) fn read<R: Read>(mut capture: CaptureReader<R>) -> Result<Self, CaptureError> {
        let (mut frames, mut times) = (Vec::new(), Vec::new());
        let mut first = None;
        let mut now = Duration::ZERO;
        while frames.len() < MAX_FRAMES
            && let Some(record) = capture.next_record()?
        {
            let first = *first.get_or_insert(record.timestamp_nanos);
            now = now.max(Duration::from_nanos(record.timestamp_nanos.saturating_sub(first)));
            times.push(now);
            let wire_len = record.wire_len as usize;
            frames.push(Captured { bytes: record.bytes.to_vec(), wire_len, client: None });
        }
        // The next pass begins as long after the last frame as frames are apart on average.
        let gap = now.checked_div(times.len().saturating_sub(1) as u32).unwrap_or_default();
        let length = now + gap.max(Duration::from_micros(1));
        Ok(Self { frames, times, length, prefixes: [0, 0], cloned_flows: 0, same_flows: 0 })
    }

    pub(super) fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Finds the clients that can have another address without another verdict.
    ///
    /// A client of a source range or of the region can't, nor can an address that no packet may come from: their frames
    /// are the same in every clone.
    pub(super) fn find_clients(&mut self, snapshot: impl Fn() -> Snapshot) {
        self.name_all();
        let before = self.decide(snapshot(), 0);
        let after = self.decide(snapshot(), 1);
        let same = |(one, other): (&Decision, &Decision)| {
            (one.verdict, one.rule.map(|(rule, _)| rule)) == (other.verdict, other.rule.map(|(rule, _)| rule))
        };
        let pairs = before.iter().zip(&after);
        let bound: HashSet<Address> = self
            .frames
            .iter()
            .zip(pairs)
            .filter(|(_, pair)| !same(*pair))
            .filter_map(|(frame, _)| frame.client.map(|named| named.address))
            .collect();
        let (mut cloned, mut all) = (HashSet::new(), HashSet::new());
        for (frame, decision) in self.frames.iter_mut().zip(&before) {
            frame.client = frame.client.filter(|named| !bound.contains(&named.address));
            if decision.verdict == Verdict::Forward
                && let Some((_, flow)) = Client::find(&padded(frame), frame.bytes.len())
            {
                let flow = (flow.src.0, flow.dst.0, flow.src_port, flow.dst_port, flow.protocol);
                all.insert(flow);
                if frame.client.is_some() {
                    cloned.insert(flow);
                }
            }
        }
        self.cloned_flows = cloned.len() as u64;
        self.same_flows = (all.len() - cloned.len()) as u64;
    }

    /// Numbers the prefixes of all clients.
    fn name_all(&mut self) {
        let mut indices: [HashMap<Vec<u8>, u64>; 2] = [HashMap::new(), HashMap::new()];
        for frame in &mut self.frames {
            let bytes = padded(frame);
            let Some((client, flow)) = Client::find(&bytes, frame.bytes.len()) else { continue };
            let is_ipv4 = flow.src.is_ipv4();
            let indices = &mut indices[usize::from(is_ipv4)];
            let next = indices.len() as u64;
            let prefix = client.prefix(&bytes, if is_ipv4 { 3 } else { 8 }).to_vec();
            let index = *indices.entry(prefix).or_insert(next);
            frame.client = Some(Named { client, address: flow.src, index });
        }
        self.prefixes = [indices[0].len() as u64, indices[1].len() as u64];
    }

    /// Decides all frames of a clone, by a processor and a table that have seen no other.
    fn decide(&self, snapshot: Snapshot, clone: u64) -> Vec<Decision> {
        let publisher = Publisher::new(snapshot);
        let table =
            Arc::new(ConntrackTable::with_capacity(self.frames.len()).expect("less than the capture"));
        let mut processor =
            BurstProcessor::new(publisher.feed().subscribe(), table, TrackingHasher::new([1, 2, 3, 4]), 0);
        let mut decisions = vec![Decision::PENDING; self.frames.len()];
        let mut mbufs = vec![Mbuf::new(); BURST];
        for (first, decisions) in (0..).step_by(BURST).zip(decisions.chunks_mut(BURST)) {
            let mbufs = &mut mbufs[..decisions.len()];
            mbufs.iter_mut().zip(first..).for_each(|(mbuf, frame)| self.fill(mbuf, frame, clone));
            processor.poll(PortId(0), mbufs, decisions, Tick::default());
        }
        decisions
    }

    /// Number of clones that have so many flows, or as many as there are addresses for.
    pub(super) fn clones_for(&self, flows: u64) -> u64 {
        let addresses = IPV4_PREFIXES.checked_div(self.prefixes[1]).unwrap_or(u64::MAX);
        let wanted = flows.saturating_sub(self.same_flows).div_ceil(self.cloned_flows.max(1));
        let useful = if self.cloned_flows > 0 { wanted } else { 1 };
        useful.clamp(1, addresses.max(1))
    }

    /// Number of flows that so many clones have.
    pub(super) fn flows(&self, clones: u64) -> u64 {
        self.same_flows + self.cloned_flows * clones
    }

    /// Makes `mbuf` the frame of that number as it is in clone `clone`; the first is the capture itself.
    #[inline]
    pub(super) fn fill(&self, mbuf: &mut Mbuf, number: usize, clone: u64) {
        let Captured { bytes, wire_len, client } = &self.frames[number];
        mbuf.fill_padded(bytes, *wire_len);
        let Some(Named { client, address, index }) = client else { return };
        if clone == 0 {
            return;
        }
        let is_ipv4 = address.is_ipv4();
        let number = (clone - 1) * self.prefixes[usize::from(is_ipv4)] + index;
        let frame = mbuf.bytes_mut();
        if is_ipv4 {
            let host = client.prefix(frame, 4)[3];
            let prefix = ((FIRST_IPV4_PREFIX + number) as u32) << 8 | u32::from(host);
            client.set(frame, &prefix.to_be_bytes());
        } else {
            client.set(frame, &(FIRST_IPV6_PREFIX + number).to_be_bytes());
        }
    }
}

fn padded(frame: &Captured) -> Vec<u8> {
    let mut mbuf = Mbuf::new();
    mbuf.fill_padded(&frame.bytes, frame.wire_len);
    mbuf.bytes().to_vec()
}
