//! Orders for taps: the frames that are recorded, and the parts of them; and how workers get to know.
//!
//! An order is a dozen words that workers read while a capture goes on, without a lock. A worker that reads them while another
//! order is being written may mix two orders for a burst: it then records frames that nobody wants, which readers pass over by
//! [`TapOrder::wants`], or none that it should have, of an order that begins with one of its next bursts anyway.
//!
//! Numbers of services and backends alone change while a capture goes on, with the configuration that they are of. The order has
//! a version, odd while it is being written: where a worker has mixed two, or finds another version once it has decided the
//! burst, the numbers that it has read may not be those of its decisions, and it records frames of every service and backend.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::flow::Flow;
use guideway_dataplane::forwarding_rule::ServiceId;
use guideway_dataplane::pipeline::Decision;

use super::filter::TapFilter;
use super::flow_filter::{FlowFilter, Numbers};

/// Frames that taps record, and the parts of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapOrder {
    /// Verdicts of the frames; of none, and the taps are off.
    pub verdicts: TapFilter,
    /// Flows of the frames.
    pub flows: FlowFilter,
    /// True if a frame that is forwarded or answered is recorded as it was received. Any other is always.
    pub received: bool,
    /// True if a frame that is forwarded or answered is recorded as it is sent.
    pub sent: bool,
    /// True if the facts are recorded that a frame met on its way, its conntrack entry among them.
    pub looks: bool,
}

/// Order that workers share.
#[derive(Debug, Default)]
pub(super) struct SharedOrder {
    /// Verdicts. Written last, so that whoever sees them sees the rest of their order, or of a later one.
    verdicts: AtomicU64,
    rest: [AtomicU64; WORDS],
    version: AtomicU64,
}

/// Number of words of an order, beside the verdicts.
const WORDS: usize = 7;

// Bits of the word of flags: parts that are given, and what is recorded.
const CLIENT: u64 = 1;
const VIP: u64 = 1 << 1;
const CLIENT_PORT: u64 = 1 << 2;
const VIP_PORT: u64 = 1 << 3;
const PROTOCOL: u64 = 1 << 4;
const SERVICE: u64 = 1 << 5;
const BACKEND: u64 = 1 << 6;
const RECEIVED: u64 = 1 << 7;
const SENT: u64 = 1 << 8;
const LOOKS: u64 = 1 << 9;
/// Lowest bits of the lengths of both prefixes, and of the protocol, in the word of flags.
const CLIENT_BITS: u32 = 16;
const VIP_BITS: u32 = 24;
const PROTOCOL_BITS: u32 = 32;
/// Lowest bit of the service.
const SERVICE_BITS: u32 = 48;

impl TapOrder {
    /// Order that records nothing.
    pub const OFF: Self = Self {
        verdicts: TapFilter::NONE,
        flows: FlowFilter {
            client: None,
            vip: None,
            client_port: None,
            vip_port: None,
            protocol: None,
            numbers: Numbers { service: None, backend: None, since: 0 },
        },
        received: false,
        sent: false,
        looks: false,
    };

    /// True if a frame is wanted that was recorded with this flow and decision, by a snapshot of this generation. Without
    /// a flow, a frame of an earlier order or without a packet, it is not where packets are read.
    pub fn wants(&self, flow: Option<&Flow>, decision: &Decision, generation: u64) -> bool {
        self.verdicts.contains(decision.verdict)
            && self.flows.numbers.agree_with(decision, generation)
            && (!self.flows.reads_packets() || flow.is_some_and(|flow| self.flows.agrees_with(flow)))
    }

    /// True if frames are looked at before they are decided.
    pub(super) fn looks_ahead(&self) -> bool {
        self.received || self.looks || self.flows.reads_packets()
    }

    /// Words of the order, beside the verdicts.
    fn to_words(self) -> [u64; WORDS] {
        let Self { flows, received, sent, looks, verdicts: _ } = self;
        let FlowFilter { client, vip, client_port, vip_port, protocol, numbers } = flows;
        let Numbers { service, backend, since } = numbers;
        let flag = |given: bool, bit: u64| if given { bit } else { 0 };
        let network = |prefix: Option<Prefix>| {
            let network = prefix.map_or(0, |prefix| prefix.network().0);
            [(network >> 64) as u64, network as u64]
        };
        let bits = |prefix: Option<Prefix>| prefix.map_or(0, |prefix| u64::from(prefix.bits()));
        let [client_high, client_low] = network(client);
        let [vip_high, vip_low] = network(vip);
        let flags = flag(client.is_some(), CLIENT)
            | flag(vip.is_some(), VIP)
            | flag(client_port.is_some(), CLIENT_PORT)
            | flag(vip_port.is_some(), VIP_PORT)
            | flag(protocol.is_some(), PROTOCOL)
            | flag(service.is_some(), SERVICE)
            | flag(backend.is_some(), BACKEND)
            | flag(received, RECEIVED)
            | flag(sent, SENT)
            | flag(looks, LOOKS)
            | bits(client) << CLIENT_BITS
            | bits(vip) << VIP_BITS
            | u64::from(protocol.unwrap_or(0)) << PROTOCOL_BITS
            | u64::from(service.map_or(0, |service| service.0)) << SERVICE_BITS;
        let ports = u64::from(client_port.unwrap_or(0)) << 16 | u64::from(vip_port.unwrap_or(0));
        let ports_and_backend = ports << 32 | u64::from(backend.map_or(0, |backend| backend.0));
        [flags, client_high, client_low, vip_high, vip_low, ports_and_backend, since]
    }

    fn from_words(verdicts: TapFilter, words: [u64; WORDS]) -> Self {
        let [flags, client_high, client_low, vip_high, vip_low, ports_and_backend, since] = words;
        let given = |bit: u64| flags & bit != 0;
        let prefix = |bit, high: u64, low: u64, bits: u32| {
            let network = Address(u128::from(high) << 64 | u128::from(low));
            given(bit).then(|| network.in_prefix((flags >> bits) as u8)).flatten()
        };
        Self {
            verdicts,
            flows: FlowFilter {
                client: prefix(CLIENT, client_high, client_low, CLIENT_BITS),
                vip: prefix(VIP, vip_high, vip_low, VIP_BITS),
                client_port: given(CLIENT_PORT).then_some((ports_and_backend >> 48) as u16),
                vip_port: given(VIP_PORT).then_some((ports_and_backend >> 32) as u16),
                protocol: given(PROTOCOL).then_some((flags >> PROTOCOL_BITS) as u8),
                numbers: Numbers {
                    service: given(SERVICE).then_some(ServiceId((flags >> SERVICE_BITS) as u16)),
                    backend: given(BACKEND).then_some(BackendHandle(ports_and_backend as u32)),
                    since,
                },
            },
            received: given(RECEIVED),
            sent: given(SENT),
            looks: given(LOOKS),
        }
    }
}

/// Records frames of these verdicts, whatever their flow: forwarded and answered ones as they are sent.
impl From<TapFilter> for TapOrder {
    fn from(verdicts: TapFilter) -> Self {
        Self { verdicts, sent: true, ..Self::OFF }
    }
}

impl SharedOrder {
    /// True if any frame is to be recorded.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        // Relaxed: whoever finds it on reads the rest behind a fence.
        self.verdicts.load(Ordering::Relaxed) != 0
    }

    /// Order at this moment.
    pub(super) fn get(&self) -> TapOrder {
        let verdicts = TapFilter::from_bits(self.verdicts.load(Ordering::Relaxed));
        // Acquire; pairs with the Release in `set`.
        fence(Ordering::Acquire);
        TapOrder::from_words(verdicts, self.rest.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }

    /// Order at this moment, with its version. Of one that is being replaced, the numbers are left out.
    pub(super) fn get_versioned(&self) -> (TapOrder, u64) {
        // Acquire; pairs with the Release at the end of `set`.
        let version = self.version.load(Ordering::Acquire);
        let mut order = self.get();
        // Acquire; pairs with the Release at the begin of `set`, whose words may be among those that were read.
        fence(Ordering::Acquire);
        if version % 2 == 1 || !self.is_at(version) {
            order.flows.numbers = Numbers::default();
        }
        (order, version)
    }

    /// True if the order has not been replaced since it had this version, and is not about to be.
    pub(super) fn is_at(&self, version: u64) -> bool {
        // Relaxed: who decides by a snapshot that was published behind a change of the order sees that change.
        self.version.load(Ordering::Relaxed) == version
    }

    /// Replaces the order. One thread alone does.
    pub(super) fn set(&self, order: &TapOrder) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Release; pairs with the fence in `get_versioned`.
        fence(Ordering::Release);
        for (word, value) in self.rest.iter().zip(order.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        // Release; pairs with the fence in `get`.
        self.verdicts.store(order.verdicts.to_bits(), Ordering::Release);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use guideway_dataplane::verdict::{DropReason, Verdict};

    use super::*;

    fn prefix(text: &str, length: u8) -> Option<Prefix> {
        Some(Prefix::new(text.parse::<IpAddr>().unwrap().into(), length))
    }

    #[test]
    fn an_order_comes_through_its_words_whole() {
        let full = TapOrder {
            verdicts: TapFilter::FORWARD | TapFilter::of(Verdict::Drop(DropReason::TtlExpired)),
            flows: FlowFilter {
                client: prefix("198.51.100.0", 24),
                vip: prefix("2001:db8::10", 128),
                client_port: Some(65_535),
                vip_port: Some(443),
                protocol: Some(17),
                numbers: Numbers {
                    service: Some(ServiceId(u16::MAX)),
                    backend: Some(BackendHandle(u32::MAX)),
                    since: u64::MAX,
                },
            },
            received: true,
            sent: true,
            looks: true,
        };
        let other = FlowFilter {
            client: prefix("::", 0),
            vip: prefix("0.0.0.0", 0),
            client_port: Some(0),
            vip_port: Some(0),
            protocol: Some(0),
            numbers: Numbers { service: Some(ServiceId(0)), backend: Some(BackendHandle(0)), since: 0 },
        };
        let shared = SharedOrder::default();
        assert_eq!(shared.get(), TapOrder::OFF);
        for order in [
            full,
            TapOrder { flows: other, received: false, ..full },
            TapOrder { flows: FlowFilter::default(), sent: false, ..full },
            TapOrder { looks: false, ..full },
            TapOrder::from(TapFilter::DROP),
            TapOrder::OFF,
        ] {
            shared.set(&order);
            assert_eq!(shared.get(), order);
            assert_eq!(shared.is_on(), !order.verdicts.is_empty());
        }
    }

    #[test]
    fn an_order_that_is_being_replaced_has_no_numbers() {
        let shared = SharedOrder::default();
        let numbers = Numbers { service: Some(ServiceId(7)), backend: None, since: 3 };
        let flows = FlowFilter { numbers, protocol: Some(6), ..FlowFilter::default() };
        let order = TapOrder { flows, ..TapOrder::from(TapFilter::ALL) };
        shared.set(&order);
        let (read, version) = shared.get_versioned();
        assert!(read == order && shared.is_at(version));
        shared.set(&order);
        assert!(!shared.is_at(version), "another, though it says the same");
        // As another thread finds it between the first and the last word.
        shared.version.fetch_add(1, Ordering::Relaxed);
        let flows = FlowFilter { numbers: Numbers::default(), ..flows };
        assert_eq!(shared.get_versioned().0, TapOrder { flows, ..order });
    }

    #[test]
    fn a_frame_without_a_flow_is_not_wanted_where_packets_are_read() {
        let order = TapOrder {
            flows: FlowFilter { protocol: Some(6), ..FlowFilter::default() },
            ..TapOrder::from(TapFilter::ALL)
        };
        assert!(!order.wants(None, &Decision::PENDING, 0));
        assert!(TapOrder::from(TapFilter::ALL).wants(None, &Decision::PENDING, 0));
        assert!(!TapOrder::from(TapFilter::DROP).wants(None, &Decision::PENDING, 0));
    }
}
