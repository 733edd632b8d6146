//! Filter of a tap by flow: the packets of some clients, to some virtual IP addresses, of a service, to a backend.

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::flow::{Flow, Fragment};
use guideway_dataplane::forwarding_rule::ServiceId;
use guideway_dataplane::icmp_error;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::wire::protocol;

/// Flows that a tap records: those that agree with every part that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Prefix of the clients.
    pub client: Option<Prefix>,
    /// Prefix of the addresses that clients send to.
    pub vip: Option<Prefix>,
    /// Port of the client.
    pub client_port: Option<u16>,
    /// Port that clients send to.
    pub vip_port: Option<u16>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Service and backend, as numbers of a configuration.
    pub numbers: Numbers,
}

/// Service and backend of a filter, as decisions number them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Service that the packets belong to.
    pub service: Option<ServiceId>,
    /// Backend that the packets go to.
    pub backend: Option<BackendHandle>,
    /// First generation that numbers services and backends in this way. Of older ones, packets of every service and backend
    /// are recorded, so that none is missed; their names tell who is meant.
    pub since: u64,
}

impl FlowFilter {
    /// True if the filter looks at packets' headers.
    pub fn reads_packets(&self) -> bool {
        let Self { client, vip, client_port, vip_port, protocol, numbers: _ } = self;
        client.is_some() || vip.is_some() || client_port.is_some() || vip_port.is_some() || protocol.is_some()
    }

    /// Flow of a received frame, if it agrees with the filter's addresses, protocol and ports: that of its packet, or that
    /// of the packet which an ICMP error quotes, seen from the client. A later fragment has no ports.
    pub fn flow_of(&self, frame: &[u8]) -> Option<Flow> {
        let packet = Packet::parse(frame).ok()?;
        if self.agrees_with(&packet.flow) {
            return Some(packet.flow);
        }
        let quoted = packet.icmp_error.then(|| icmp_error::quoted_flow(frame, &packet))??;
        [quoted, quoted.reversed()].into_iter().find(|flow| self.agrees_with(flow))
    }

    /// True if a flow agrees with the filter's addresses, protocol and ports.
    pub fn agrees_with(&self, flow: &Flow) -> bool {
        let within = |prefix: Option<Prefix>, address: Address| {
            prefix.is_none_or(|prefix: Prefix| prefix.contains(address))
        };
        let has_ports =
            matches!(flow.protocol, protocol::TCP | protocol::UDP) && flow.fragment != Fragment::Later;
        let is_port = |wanted: Option<u16>, port| wanted.is_none_or(|wanted| has_ports && wanted == port);
        within(self.client, flow.src)
            && within(self.vip, flow.dst)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && is_port(self.client_port, flow.src_port)
            && is_port(self.vip_port, flow.dst_port)
    }
}

impl Numbers {
    /// True if a decision by the snapshot of this generation is for the service and the backend, or may be.
    pub fn agree_with(&self, decision: &Decision, generation: u64) -> bool {
        let is_service =
            self.service.is_none_or(|wanted| decision.rule.is_some_and(|(_, service)| service == wanted));
        let is_backend = self.backend.is_none_or(|wanted| decision.backend == Some(wanted));
        generation < self.since || (is_service && is_backend)
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::forwarding_rule::RuleId;
    use pcap_fixtures::packet::Packet as Sample;

    use super::*;

    fn prefix(text: &str) -> Option<Prefix> {
        let (address, length) = text.split_once('/').unwrap();
        let address: std::net::IpAddr = address.parse().unwrap();
        Some(Prefix::new(address.into(), length.parse().unwrap()))
    }

    #[test]
    fn a_flow_must_agree_with_every_part_that_is_given() {
        let frame = Sample::between("198.51.100.7", "203.0.113.10").tcp(40_000, 443, 0x10).build();
        let any = FlowFilter::default();
        assert!(!any.reads_packets() && any.flow_of(&frame).is_some());
        let rows = [
            (FlowFilter { client: prefix("198.51.100.0/24"), ..any }, true),
            (FlowFilter { client: prefix("198.51.101.0/24"), ..any }, false),
            (FlowFilter { client: prefix("::/0"), ..any }, false),
            (FlowFilter { vip: prefix("203.0.113.10/32"), ..any }, true),
            (FlowFilter { vip: prefix("198.51.100.7/32"), ..any }, false),
            (FlowFilter { client_port: Some(40_000), vip_port: Some(443), ..any }, true),
            (FlowFilter { client_port: Some(443), ..any }, false),
            (FlowFilter { vip_port: Some(40_000), ..any }, false),
            (FlowFilter { protocol: Some(protocol::TCP), ..any }, true),
            (FlowFilter { protocol: Some(protocol::UDP), vip_port: Some(443), ..any }, false),
        ];
        for (filter, agrees) in rows {
            assert!(filter.reads_packets());
            assert_eq!(filter.flow_of(&frame).is_some(), agrees, "{filter:?}");
        }
        assert!(any.flow_of(b"no packet").is_none());
    }

    #[test]
    fn a_packet_without_ports_agrees_with_no_port() {
        let flow = Flow {
            src: Address::v4([198, 51, 100, 7]),
            dst: Address::v4([203, 0, 113, 10]),
            src_port: 0,
            dst_port: 0,
            protocol: protocol::ESP,
            fragment: Fragment::No,
        };
        let port_zero = FlowFilter { vip_port: Some(0), ..FlowFilter::default() };
        assert!(!port_zero.agrees_with(&flow));
        assert!(port_zero.agrees_with(&Flow { protocol: protocol::UDP, ..flow }));
        assert!(!port_zero.agrees_with(&Flow { protocol: protocol::UDP, fragment: Fragment::Later, ..flow }));
    }

    #[test]
    fn numbers_hold_from_their_generation_on() {
        let numbers = Numbers { service: Some(ServiceId(3)), backend: Some(BackendHandle(7)), since: 5 };
        let decision = |service, backend| Decision {
            rule: Some((RuleId(0), ServiceId(service))),
            backend: Some(BackendHandle(backend)),
            ..Decision::PENDING
        };
        assert!(numbers.agree_with(&decision(3, 7), 5));
        assert!(!numbers.agree_with(&decision(4, 7), 5) && !numbers.agree_with(&decision(3, 8), 6));
        assert!(!numbers.agree_with(&Decision::PENDING, 5));
        assert!(numbers.agree_with(&decision(4, 8), 4), "an older generation may number otherwise");
        assert!(Numbers::default().agree_with(&Decision::PENDING, 0));
    }
}
