//! Session affinity: which parts of a packet choose its backend, and which name its connection.

use std::hash::{BuildHasher, Hasher};

use crate::address::{Address, Prefix};
use crate::conntrack::TrackingKey;
use crate::flow::{Flow, Fragment};
use crate::ingress::NetworkId;
use crate::source_meter::SourceKey;
use crate::wire::protocol;

/// Side of the network that a forwarding rule and its backend service face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancingScheme {
    /// The external passthrough load balancer.
    External,
    /// The internal passthrough load balancer.
    Internal,
}

/// Parts of a packet that choose its backend, as a service's configuration names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAffinity {
    /// Same hash as [`SessionAffinity::ClientIpPortProto`]; UDP, ESP and GRE are not tracked if the scheme is external.
    None,
    /// The 5-tuple of ported packets, the 3-tuple of all others.
    ClientIpPortProto,
    /// The 3-tuple: both addresses and the protocol.
    ClientIpProto,
    /// The 2-tuple: both addresses.
    ClientIp,
    /// The 1-tuple: the client's address alone.
    ClientIpNoDestination,
}

/// Hash that names a tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingMode {
    /// The 5-tuple, or the 3-tuple where there are no ports.
    PerConnection,
    /// The selection hash.
    PerSession,
}

/// Tracked connections that stay on a backend that has turned unhealthy (`connection_persistence_on_unhealthy_backends`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistenceOnUnhealthy {
    /// TCP connections, where they are tracked by their 5-tuple.
    DefaultForProtocol,
    /// None.
    NeverPersist,
    /// All that are tracked.
    AlwaysPersist,
}

/// Parts of a flow that a hash covers. The numbers are part of the frozen selection hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuple {
    /// Source address.
    One = 1,
    /// Both addresses.
    Two = 2,
    /// Both addresses and the protocol.
    Three = 3,
    /// Both addresses, the protocol and both ports.
    Five = 5,
}

/// Bytes that a flow's hash covers, in the one byte order that every machine shares.
///
/// ```text
/// IPv4, 16 bytes:  src 4 │ dst 4  │ src_port 2 │ dst_port 2 │ protocol 1 │ tuple 1 │ zero 2
/// IPv6, 40 bytes:  src 16│ dst 16 │ src_port 2 │ dst_port 2 │ protocol 1 │ tuple 1 │ zero 2
/// ```
/// Parts that the tuple leaves out are zero; ports and addresses are in network order. The tuple's number keeps a
/// 3-tuple apart from a 5-tuple with ports of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleBytes {
    bytes: [u8; 40],
    len: u8,
}

impl Tuple {
    /// Canonical bytes of `flow`.
    #[inline]
    pub fn bytes(self, flow: &Flow) -> TupleBytes {
        let dst = if self == Self::One { Address(0) } else { flow.dst };
        let ports = u64::from(flow.src_port) << 48 | u64::from(flow.dst_port) << 32;
        let ports = if self == Self::Five { ports } else { 0 };
        let protocol = if matches!(self, Self::Three | Self::Five) { flow.protocol } else { 0 };
        let tail = ports | u64::from(protocol) << 24 | u64::from(self as u8) << 16;
        let mut bytes = [0; 40];
        if flow.src.is_ipv4() {
            let addresses = u64::from(flow.src.0 as u32) << 32 | u64::from(dst.0 as u32);
            bytes[..8].copy_from_slice(&addresses.to_be_bytes());
            bytes[8..16].copy_from_slice(&tail.to_be_bytes());
            TupleBytes { bytes, len: 16 }
        } else {
            bytes[..16].copy_from_slice(&flow.src.v6_bytes());
            bytes[16..32].copy_from_slice(&dst.v6_bytes());
            bytes[32..].copy_from_slice(&tail.to_be_bytes());
            TupleBytes { bytes, len: 40 }
        }
    }
}

impl TupleBytes {
    /// Canonical bytes of a client's 1-tuple.
    #[inline]
    pub fn of_client(client: Address) -> Self {
        let (dst, protocol, fragment) = (Address(0), 0, Fragment::No);
        Tuple::One.bytes(&Flow { src: client, dst, src_port: 0, dst_port: 0, protocol, fragment })
    }

    /// Bytes that are hashed, without the unused end of the array.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // Either length is known to what is compiled behind it.
        if self.len == 16 { &self.bytes[..16] } else { &self.bytes }
    }
}

/// Parts of a flow that name its connection, for one service, tuple and protocol: worked out before there is a packet.
//
// Words without alignment, so that a table of rules which has them in its cells wastes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyParts {
    /// Service, class of the tuple, and for all but 5-tuples the protocol and the tuple.
    constant: [u8; 8],
    /// Bits of the destination address that take part: all or none.
    dst: u32,
    /// Bits of both ports that take part: all or none.
    ports: u32,
}

impl KeyParts {
    /// Parts of the flows of `protocol` that `tuple` covers, within one service.
    #[inline]
    pub const fn new(service: ServiceKey, tuple: Tuple, protocol: u8) -> Self {
        debug_assert!(service.0 < ServiceKey::LIMIT, "a service's key leaves room for the class");
        let covered = if matches!(tuple, Tuple::Three | Tuple::Five) { protocol } else { 0 };
        // A 5-tuple's ports take the place of what tells other tuples apart.
        let (class, kind) = match (tuple, protocol) {
            (Tuple::Five, protocol::TCP) => (1, 0),
            (Tuple::Five, protocol::UDP) => (2, 0),
            _ => (3, (covered as u64) << 8 | tuple as u64),
        };
        let constant = (service.0 as u64) << 34 | class << 32 | kind;
        Self {
            constant: constant.to_le_bytes(),
            dst: if matches!(tuple, Tuple::One) { 0 } else { u32::MAX },
            ports: if matches!(tuple, Tuple::Five) { u32::MAX } else { 0 },
        }
    }
}

/// Tracking of one class of protocols by one service, worked out once when the service is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// True if connections are tracked.
    pub tracked: bool,
    /// True if their entries stay valid on a backend that turns unhealthy.
    pub persists: bool,
    /// True if a packet that opens a connection (SYN) starts it anew.
    pub restarts: bool,
    /// Tuple that names a tracked connection: of packets with ports, and of all others.
    tracking: [Tuple; 2],
}

impl Treatment {
    /// Tuple of `flow` that names its connection.
    #[inline]
    pub fn tracking_tuple(&self, flow: &Flow) -> Tuple {
        self.tracking[usize::from(!flow.is_ported())]
    }

    /// Tuple that names the connection of a flow with ports that is not a fragment.
    #[inline]
    pub fn tracking_tuple_with_ports(&self) -> Tuple {
        self.tracking[0]
    }
}

/// The hashes and the tracking of one backend service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityPolicy {
    /// Tuple that chooses a backend: of packets with ports, and of all others.
    selection: [Tuple; 2],
    /// Treatment of TCP, and of UDP.
    ported: [Treatment; 2],
    esp_gre: Treatment,
    others: Treatment,
}

impl AffinityPolicy {
    /// Policy of a service with these settings, by the specification's tables of hashes, tracking and persistence.
    pub fn new(
        scheme: LoadBalancingScheme,
        affinity: SessionAffinity,
        mode: TrackingMode,
        persistence: PersistenceOnUnhealthy,
    ) -> Self {
        let external = scheme == LoadBalancingScheme::External;
        let by_connection = matches!(affinity, SessionAffinity::None | SessionAffinity::ClientIpPortProto);
        let tracked_by_selection = mode == TrackingMode::PerSession && !by_connection;
        let persists = |is_tcp: bool| match persistence {
            PersistenceOnUnhealthy::DefaultForProtocol => is_tcp && !tracked_by_selection,
            PersistenceOnUnhealthy::NeverPersist => false,
            PersistenceOnUnhealthy::AlwaysPersist => true,
        };
        let has_affinity = affinity != SessionAffinity::None;
        let connection = [Tuple::Five, Tuple::Three];
        let selection = match affinity {
            SessionAffinity::None | SessionAffinity::ClientIpPortProto => connection,
            SessionAffinity::ClientIpProto => [Tuple::Three; 2],
            SessionAffinity::ClientIp => [Tuple::Two; 2],
            SessionAffinity::ClientIpNoDestination => [Tuple::One; 2],
        };
        let tracking = if tracked_by_selection { selection } else { connection };
        let datagrams = |tracked| Treatment { tracked, persists: persists(false), restarts: false, tracking };
        let restarts = !tracked_by_selection;
        Self {
            selection,
            ported: [
                Treatment { tracked: true, persists: persists(true), restarts, tracking },
                datagrams(!external || has_affinity),
            ],
            esp_gre: datagrams(external && has_affinity),
            others: Treatment { persists: false, ..datagrams(false) },
        }
    }

    /// Tuple of `flow` that chooses its backend.
    #[inline]
    pub fn selection_tuple(&self, flow: &Flow) -> Tuple {
        self.selection[usize::from(!flow.is_ported())]
    }

    /// Flow that is hashed for a packet that came by a route, for selection and for tracking: its ends in order, so that
    /// a next hop behind two routes, there and back, sees both directions of a connection.
    ///
    /// Where the client's address alone chooses, it stays the source.
    pub fn routed(&self, flow: &Flow) -> Flow {
        if self.routes_alike() { flow.in_order() } else { *flow }
    }

    /// True if a next hop behind two routes sees both directions of a connection.
    pub(crate) fn routes_alike(&self) -> bool {
        self.selection[0] != Tuple::One
    }

    /// Treatment of TCP or UDP packets.
    #[inline]
    pub fn treatment_with_ports(&self, protocol: u8) -> &Treatment {
        &self.ported[usize::from(protocol == protocol::UDP)]
    }

    /// Treatment of packets of any protocol.
    #[inline]
    pub fn treatment(&self, protocol: u8) -> &Treatment {
        match protocol {
            protocol::TCP | protocol::UDP => self.treatment_with_ports(protocol),
            protocol::ESP | protocol::GRE => &self.esp_gre,
            _ => &self.others,
        }
    }
}

impl Default for AffinityPolicy {
    /// Policy of an external service whose configuration names none.
    fn default() -> Self {
        Self::new(
            LoadBalancingScheme::External,
            SessionAffinity::None,
            TrackingMode::PerConnection,
            PersistenceOnUnhealthy::DefaultForProtocol,
        )
    }
}

/// Hasher of conntrack keys: fast, and unpredictable to whoever sends packets.
///
/// aHash differs between builds and is keyed anew at every start; nothing outside this process may depend on it.
#[derive(Clone, Debug)]
pub struct TrackingHasher(ahash::RandomState);

impl TrackingHasher {
    /// Hasher with these keys.
    pub fn new(keys: [u64; 4]) -> Self {
        Self(ahash::RandomState::with_seeds(keys[0], keys[1], keys[2], keys[3]))
    }

    /// Key of the connection or session that `tuple` of `flow` names within one service.
    pub fn key(&self, service: ServiceKey, tuple: Tuple, flow: &Flow) -> TrackingKey {
        let parts = KeyParts::new(service, tuple, flow.protocol);
        let [src_port, dst_port] = [flow.src_port, flow.dst_port].map(u16::to_be_bytes);
        let ports = u32::from_le_bytes([src_port[0], src_port[1], dst_port[0], dst_port[1]]);
        if flow.src.is_ipv4() {
            let [src, dst] = [flow.src, flow.dst].map(|address| u32::from_le_bytes(address.v4_bytes()));
            self.ipv4_key(&parts, src, dst, ports)
        } else {
            let [src, dst] = [flow.src, flow.dst].map(|address| u128::from_le_bytes(address.v6_bytes()));
            self.ipv6_key(&parts, src, dst, ports)
        }
    }

    /// Key of a connection or session over IPv4; addresses and ports are little-endian words of the header's bytes, so
    /// that nothing need be put in order first.
    #[inline(always)]
    pub fn ipv4_key(&self, parts: &KeyParts, src: u32, dst: u32, ports: u32) -> TrackingKey {
        let addresses = u64::from(dst & parts.dst) << 32 | u64::from(src);
        let rest = u64::from_le_bytes(parts.constant) ^ u64::from(ports & parts.ports);
        let mut hasher = self.0.build_hasher();
        hasher.write_u128(u128::from(rest) << 64 | u128::from(addresses));
        TrackingKey(hasher.finish())
    }

    /// Key of a connection or session over IPv6, of words as for IPv4.
    #[inline(always)]
    pub(crate) fn ipv6_key(&self, parts: &KeyParts, src: u128, dst: u128, ports: u32) -> TrackingKey {
        let rest = u64::from_le_bytes(parts.constant) ^ u64::from(ports & parts.ports);
        let dst = if parts.dst == 0 { 0 } else { dst };
        let mut hasher = self.0.build_hasher();
        hasher.write_u128(src);
        hasher.write_u128(dst);
        hasher.write_u64(rest);
        TrackingKey(hasher.finish())
    }

    /// Key of the datagram that a fragment of `flow`, with this identification, in a network is part of.
    pub fn datagram_key(&self, network: NetworkId, flow: &Flow, identification: u32) -> DatagramKey {
        let mut hasher = self.0.build_hasher();
        hasher.write_u128(flow.src.0);
        hasher.write_u128(flow.dst.0);
        let network_and_protocol = u64::from(network.0) << 8 | u64::from(flow.protocol);
        hasher.write_u64(network_and_protocol << 32 | u64::from(identification));
        DatagramKey(hasher.finish())
    }

    /// Key of a source prefix in a network.
    pub fn source_key(&self, network: NetworkId, source: Prefix) -> SourceKey {
        let mut hasher = self.0.build_hasher();
        hasher.write_u128(source.network().0);
        hasher.write_u64(u64::from(network.0) << 8 | u64::from(source.bits()));
        SourceKey(hasher.finish())
    }
}

/// Keyed hash of network, addresses, protocol and identification: all that the memory knows of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramKey(pub u64);

/// Number that tells the connections of one service from those of another; never used again once its service is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey(pub u32);

impl ServiceKey {
    /// Bound of the numbers: a thousand new services a second last for twelve days.
    pub const LIMIT: u32 = 1 << 30;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::flow::Fragment;

    use LoadBalancingScheme::{External, Internal};
    use PersistenceOnUnhealthy::{AlwaysPersist, DefaultForProtocol, NeverPersist};
    use SessionAffinity::{ClientIp, ClientIpNoDestination, ClientIpPortProto, ClientIpProto};
    use TrackingMode::{PerConnection, PerSession};

    fn flow(protocol: u8, fragment: Fragment) -> Flow {
        let (src, dst) = (Address::v4([192, 0, 2, 7]), Address::v4([203, 0, 113, 10]));
        Flow { src, dst, src_port: 40001, dst_port: 443, protocol, fragment }
    }

    /// The table "session affinity → selection hash" of the specification.
    #[test]
    fn selection_covers_what_the_affinity_says() {
        for (affinity, ported, other) in [
            (SessionAffinity::None, Tuple::Five, Tuple::Three),
            (ClientIpPortProto, Tuple::Five, Tuple::Three),
            (ClientIpProto, Tuple::Three, Tuple::Three),
            (ClientIp, Tuple::Two, Tuple::Two),
            (ClientIpNoDestination, Tuple::One, Tuple::One),
        ] {
            let policy = AffinityPolicy::new(Internal, affinity, PerConnection, DefaultForProtocol);
            assert_eq!(policy.selection_tuple(&flow(protocol::TCP, Fragment::No)), ported);
            assert_eq!(policy.selection_tuple(&flow(protocol::UDP, Fragment::No)), ported);
            assert_eq!(policy.selection_tuple(&flow(protocol::TCP, Fragment::First)), ported);
            assert_eq!(policy.selection_tuple(&flow(protocol::UDP, Fragment::First)), other);
            for protocol in [protocol::TCP, protocol::UDP] {
                assert_eq!(policy.selection_tuple(&flow(protocol, Fragment::Later)), other);
            }
            assert_eq!(policy.selection_tuple(&flow(protocol::ESP, Fragment::No)), other);
        }
    }

    /// The table "tracked" of the specification.
    #[test]
    fn tracking_follows_scheme_affinity_and_protocol() {
        for (scheme, protocol, without_affinity, with_affinity) in [
            (External, protocol::TCP, true, true),
            (External, protocol::UDP, false, true),
            (External, protocol::ESP, false, true),
            (External, protocol::GRE, false, true),
            (External, protocol::ICMP, false, false),
            (External, 132, false, false),
            (Internal, protocol::TCP, true, true),
            (Internal, protocol::UDP, true, true),
            (Internal, protocol::ESP, false, false),
            (Internal, protocol::GRE, false, false),
            (Internal, protocol::ICMPV6, false, false),
        ] {
            let tracked = |affinity| {
                let policy = AffinityPolicy::new(scheme, affinity, PerConnection, DefaultForProtocol);
                policy.treatment(protocol).tracked
            };
            assert_eq!(tracked(SessionAffinity::None), without_affinity, "{scheme:?} {protocol}");
            for affinity in [ClientIpPortProto, ClientIpProto, ClientIp, ClientIpNoDestination] {
                assert_eq!(tracked(affinity), with_affinity, "{scheme:?} {affinity:?} {protocol}");
            }
        }
    }

    #[test]
    fn sessions_are_tracked_by_the_selection_hash_where_it_is_narrower_than_a_connection() {
        let tcp = flow(protocol::TCP, Fragment::No);
        for (affinity, mode, tuple, restarts) in [
            (SessionAffinity::None, PerSession, Tuple::Five, true),
            (ClientIpPortProto, PerSession, Tuple::Five, true),
            (ClientIpProto, PerSession, Tuple::Three, false),
            (ClientIp, PerSession, Tuple::Two, false),
            (ClientIpNoDestination, PerSession, Tuple::One, false),
            (SessionAffinity::None, PerConnection, Tuple::Five, true),
            (ClientIpPortProto, PerConnection, Tuple::Five, true),
            (ClientIpProto, PerConnection, Tuple::Five, true),
            (ClientIp, PerConnection, Tuple::Five, true),
            (ClientIpNoDestination, PerConnection, Tuple::Five, true),
        ] {
            let policy = AffinityPolicy::new(Internal, affinity, mode, DefaultForProtocol);
            let treatment = policy.treatment(protocol::TCP);
            assert_eq!(treatment.tracking_tuple(&tcp), tuple, "{affinity:?} {mode:?}");
            assert_eq!(treatment.restarts, restarts, "{affinity:?} {mode:?}");
        }
    }

    /// The table "connection_persistence_on_unhealthy_backends" of the specification.
    #[test]
    fn persistence_follows_the_option_and_the_protocol() {
        for (affinity, mode, tcp_by_default) in [
            (SessionAffinity::None, PerConnection, true),
            (ClientIpPortProto, PerConnection, true),
            (ClientIpProto, PerConnection, true),
            (ClientIp, PerConnection, true),
            (ClientIpNoDestination, PerConnection, true),
            (SessionAffinity::None, PerSession, true),
            (ClientIpPortProto, PerSession, true),
            (ClientIpProto, PerSession, false),
            (ClientIp, PerSession, false),
            (ClientIpNoDestination, PerSession, false),
        ] {
            let persists = |option, protocol| {
                AffinityPolicy::new(Internal, affinity, mode, option).treatment(protocol).persists
            };
            let claim = format!("{affinity:?} {mode:?}");
            assert_eq!(persists(DefaultForProtocol, protocol::TCP), tcp_by_default, "{claim}");
            assert!(!persists(DefaultForProtocol, protocol::UDP), "{claim}");
            assert!(
                !persists(NeverPersist, protocol::TCP) && !persists(NeverPersist, protocol::UDP),
                "{claim}"
            );
            assert!(
                persists(AlwaysPersist, protocol::TCP) && persists(AlwaysPersist, protocol::UDP),
                "{claim}"
            );
        }
    }

    #[test]
    fn a_route_is_hashed_alike_in_both_directions_unless_the_client_alone_chooses() {
        let there = flow(protocol::TCP, Fragment::No);
        for affinity in
            [SessionAffinity::None, ClientIpPortProto, ClientIpProto, ClientIp, ClientIpNoDestination]
        {
            for mode in [PerConnection, PerSession] {
                let policy = AffinityPolicy::new(Internal, affinity, mode, DefaultForProtocol);
                let alike = policy.routed(&there) == policy.routed(&there.reversed());
                assert_eq!(alike, affinity != ClientIpNoDestination, "{affinity:?} {mode:?}");
                assert_eq!(policy.routed(&there), there, "the lower end is the source already");
            }
        }
    }

    #[test]
    fn canonical_bytes_are_frozen() {
        let tcp = flow(protocol::TCP, Fragment::No);
        assert_eq!(
            Tuple::Five.bytes(&tcp).as_slice(),
            [192, 0, 2, 7, 203, 0, 113, 10, 0x9c, 0x41, 1, 187, 6, 5, 0, 0]
        );
        assert_eq!(
            Tuple::Three.bytes(&tcp).as_slice(),
            [192, 0, 2, 7, 203, 0, 113, 10, 0, 0, 0, 0, 6, 3, 0, 0]
        );
        assert_eq!(
            Tuple::Two.bytes(&tcp).as_slice(),
            [192, 0, 2, 7, 203, 0, 113, 10, 0, 0, 0, 0, 0, 2, 0, 0]
        );
        assert_eq!(Tuple::One.bytes(&tcp).as_slice(), [192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        let v6 = Flow { src: Address(1 << 120), dst: Address(2), ..tcp };
        let bytes = Tuple::Five.bytes(&v6);
        assert_eq!(bytes.as_slice().len(), 40);
        assert_eq!(
            (bytes.as_slice()[0], bytes.as_slice()[31], &bytes.as_slice()[32..]),
            (1, 2, &[0x9c, 0x41, 1, 187, 6, 5, 0, 0][..])
        );
    }

    #[test]
    fn tracking_keys_tell_tuples_services_and_flows_apart() {
        let hasher = TrackingHasher::new([1, 2, 3, 4]);
        let tcp = flow(protocol::TCP, Fragment::No);
        let udp = Flow { protocol: protocol::UDP, ..tcp };
        let portless = Flow { src_port: 0, dst_port: 0, ..tcp };
        let key = |service, tuple, flow| hasher.key(ServiceKey(service), tuple, flow).0;
        let mut keys = vec![
            key(1, Tuple::Five, &tcp),
            key(2, Tuple::Five, &tcp),
            key(1, Tuple::Five, &portless),
            key(1, Tuple::Three, &tcp),
            key(1, Tuple::Two, &tcp),
            key(1, Tuple::One, &tcp),
            key(1, Tuple::Five, &udp),
            key(1, Tuple::Three, &udp),
            key(ServiceKey::LIMIT - 1, Tuple::Five, &tcp),
        ];
        assert_eq!(key(1, Tuple::Three, &tcp), key(1, Tuple::Three, &portless));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 9);
    }
}
