//! The tables of the file and their keys: the one place that states a key's type, its bounds and its default.
//!
//! A value is checked against its key's type while it is read; rules that concern several keys are checked in the file
//! of the noun that they are about. The schema takes types, bounds and defaults from here, and the comments are the
//! descriptions that editors show.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use guideway_dataplane::affinity::{
    LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};
use guideway_engine::driver::device::Device;
use ipnet::IpNet;

use super::choice::{
    AccessAction, Chosen, Delivery, DnsRcode, DnsType, EndpointsRecord, LocalityLbPolicy, NeighborReplies,
    PolicyKind, ProbeType, ProxyHeader, RuleProtocol, ServiceProtocol, SubsettingPolicy, TransportKind,
    WeightSource,
};
use super::dns_name::DnsName;
use super::dns_server::DnsServer;
use super::field::{Field, tables};
use super::group_name::UserGroup;
use super::one_or_more::OneOrMore;
use super::value::{
    Ascii, ClientRange, Core, Description, FilePath, Integer, InterfaceAddress, ListedPorts, Mac, Name,
    NamedPath, Port, PortRange, Ratio, Seed,
};
use super::vip_range::VipRange;
use crate::config::limits::{
    EXTERNAL_IDLE_TIMEOUT_SEC, MAX_ACCESS_LIST_ENTRIES, MAX_ACCESS_LISTS, MAX_ADDRESSES_OF_A_PORT,
    MAX_ANNOUNCEMENTS, MAX_APPLIANCE_PORTS, MAX_ARGUMENTS, MAX_DEVICE_NAME, MAX_DNS_SERVERS,
    MAX_DRAINING_TIMEOUT_SEC, MAX_ENDPOINTS_OF_A_GROUP, MAX_ENTRIES, MAX_GROUPS, MAX_HEALTH_CHECKS,
    MAX_HOLD_DOWN_SEC, MAX_IDLE_TIMEOUT_SEC, MAX_INCLUDES, MAX_MEMBERS_OF_A_KIND, MAX_MIN_HEALTHY, MAX_MTU,
    MAX_NETWORKS, MAX_NEW_CONNECTIONS, MAX_PORTS, MAX_PROTOCOL_NAME, MAX_REGION_RANGES, MAX_ROUTES,
    MAX_RULES, MAX_SERVICES, MAX_SOURCE_RANGES, MAX_SUBSET_SIZE, MAX_WEIGHT, MAX_WORKERS, MIN_ENTRIES,
    MIN_MTU,
};

/// A list of values, each right or wrong by itself.
type List<T> = Vec<Field<T>>;

/// Path of the admin API's Unix socket, unless the configuration names another.
pub(in crate::config) const DEFAULT_SOCKET: &str = "/run/guideway/admin.sock";

/// Seed of appliances that are given none: the ASCII text `guideway-default`.
pub(in crate::config) const DEFAULT_SEED: [u8; 16] = *b"guideway-default";

tables! {
    /// The configuration of one Guideway appliance.
    ConfigFile {
        /// Patterns of files that the configuration goes on in, such as "conf.d/*.toml"; of the main file alone. A relative one
        /// begins in its folder.
        #[schemars(length(max = MAX_INCLUDES))]
        include: Option<Field<List<NamedPath>>>,
        /// Cores and memory that the engine uses.
        engine: Option<Field<EngineFile>>,
        /// Devices that packets come and go by.
        #[schemars(length(max = MAX_APPLIANCE_PORTS))]
        port: Option<Field<List<PortFile>>>,
        /// Admin API of the running appliance.
        admin: Option<Field<AdminFile>>,
        /// Exporter of metrics for Prometheus.
        metrics: Option<Field<MetricsFile>>,
        /// Network that the appliance is attached to; or several, as `[[network]]`, each with a name.
        network: Option<Field<OneOrMore<NetworkFile, MAX_NETWORKS>>>,
        /// Settings that all appliances of a fleet share.
        fleet: Option<Field<FleetFile>>,
        /// Table of tracked connections.
        conntrack: Option<Field<ConntrackFile>>,
        /// Virtual IP addresses with a protocol and ports, each before a backend service.
        #[schemars(length(max = MAX_RULES))]
        forwarding_rule: Option<Field<List<ForwardingRuleFile>>>,
        /// Affinity, policies and backend groups behind forwarding rules.
        #[schemars(length(max = MAX_SERVICES))]
        backend_service: Option<Field<List<BackendServiceFile>>>,
        /// Endpoints that receive packets.
        #[schemars(length(max = MAX_GROUPS))]
        backend_group: Option<Field<List<BackendGroupFile>>>,
        /// Probes that find out which backends can serve.
        #[schemars(length(max = MAX_HEALTH_CHECKS))]
        health_check: Option<Field<List<HealthCheckFile>>>,
        /// Sources that forwarding rules admit, and those that they deny.
        #[schemars(length(max = MAX_ACCESS_LISTS))]
        access_list: Option<Field<List<AccessListFile>>>,
        /// Destination prefixes whose next hop is an INTERNAL forwarding rule.
        #[schemars(length(max = MAX_ROUTES))]
        route: Option<Field<List<RouteFile>>>,
        /// Ways to tell routers about virtual IP addresses.
        #[schemars(length(max = MAX_ANNOUNCEMENTS))]
        announcement: Option<Field<List<AnnouncementFile>>>,
    }

    /// Cores and memory that the engine uses. A reload does not change them.
    #[derive(Default)]
    EngineFile {
        /// Cores of the workers, one worker each; by default the cores that the kernel isolates, or where it isolates none
        /// every core that the process may use except the control thread's, at most 64.
        #[schemars(length(min = 1, max = MAX_WORKERS))]
        worker_cores: Option<Field<List<Core>>>,
        /// Core of the control thread; by default the lowest that the process may use, on the NUMA node of the ports.
        control_core: Option<Field<Core>>,
        /// Keeps frames in ordinary pages: for tests, unfit for hardware.
        no_huge: Option<Field<bool>> = false,
        /// Memory for frames in ordinary pages, in MiB (no_huge only).
        memory_mib: Option<Field<Integer<64, 1_048_576>>> = Integer(512),
        /// Number of frames that there is memory for on each NUMA node of ports; by default as many as queues, workers and
        /// the host path can hold.
        mbufs: Option<Field<Integer<1_023, 134_217_727>>>,
        /// Refuses the workers' threads every system call that a poll-mode driver does not need.
        confine_workers: Option<Field<bool>> = true,
        /// Takes capabilities, files (by Landlock), new sockets and programs from the thread of the admin interface and the metrics.
        confine_listeners: Option<Field<bool>> = true,
    }

    /// A device that packets come and go by. A reload does not change it.
    PortFile {
        /// Name of the port, unique among ports.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// PCI address ("0000:3b:02.0"), or virtual device as DPDK names it ("net_af_packet0,iface=eth0").
        device: Field<Device>,
        /// Addresses of the appliance on the link, each with the length of the link's prefix.
        #[schemars(length(max = MAX_ADDRESSES_OF_A_PORT))]
        ip_addresses: Option<Field<List<InterfaceAddress>>>,
        /// Routers on the link to all other destinations, at most one of each address family.
        #[schemars(length(max = 2))]
        gateways: Option<Field<List<IpAddr>>>,
        /// Length of the longest packet that the port takes, in bytes.
        mtu: Option<Field<Integer<MIN_MTU, MAX_MTU>>> = Integer(1_500),
        /// Number of descriptors of each receive queue.
        rx_descriptors: Option<Field<Integer<64, 32_768>>> = Integer(1_024),
        /// Number of descriptors of each transmit queue.
        tx_descriptors: Option<Field<Integer<64, 32_768>>> = Integer(1_024),
        /// Takes frames for any MAC address.
        promiscuous: Option<Field<bool>> = false,
    }

    /// Admin API of the running appliance. A reload does not change it.
    #[derive(Default)]
    AdminFile {
        /// Path of the Unix socket that the admin API listens on.
        socket: Option<Field<PathBuf>> = PathBuf::from(DEFAULT_SOCKET),
        /// Path of the file that keeps operators' drains and weights over a restart; without it, a restart forgets them.
        state: Option<Field<FilePath>>,
        /// A reload that removes every forwarding rule, or more than half of all backends, is refused without
        /// `guideway reload --yes`.
        confirm_removals: Option<Field<bool>> = true,
        /// Group of users that may change the appliance and capture packets, by name or number; without it, the appliance's
        /// own group may. Root and the appliance's own user always may.
        write_group: Option<Field<UserGroup>>,
        /// Group of users that may look at the appliance, by name or number; without it, the appliance's own group may.
        read_group: Option<Field<UserGroup>>,
    }

    /// Exporter of metrics for Prometheus. A reload does not change it.
    #[derive(Default)]
    MetricsFile {
        /// Address and port that the exporter listens on.
        listen: Option<Field<SocketAddr>> = SocketAddr::from(([127, 0, 0, 1], 9_477)),
        /// Path of a file that holds the token without which the exporter answers nobody; one that is relative begins beside
        /// the configuration. Without it, everybody who reaches the address may read.
        token_file: Option<Field<NamedPath>>,
    }

    /// A network that the appliance is attached to: its link, and the appliance's own addresses, MTU and ICMP errors there.
    #[derive(Default)]
    NetworkFile {
        /// Name of the network, unique among networks; required where there are several.
        name: Option<Field<Name>>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Name of the port that the network is on: the first by default. A network that is the only one, and names neither
        /// port nor VLAN, is on all ports.
        port: Option<Field<Name>>,
        /// VLAN of the port that the network is, by the number in its frames' tags (IEEE 802.1Q); untagged by default.
        vlan: Option<Field<Integer<1, 4_094>>>,
        /// Addresses of the appliance in the VLAN, each with the length of the link's prefix; an untagged network has those
        /// of its port.
        #[schemars(length(max = MAX_ADDRESSES_OF_A_PORT))]
        ip_addresses: Option<Field<List<InterfaceAddress>>>,
        /// Routers in the VLAN to all other destinations, at most one of each address family; an untagged network has those
        /// of its port.
        #[schemars(length(max = 2))]
        gateways: Option<Field<List<IpAddr>>>,
        /// IPv4 address of the appliance: source of IPv4 tunnels and of ICMP errors.
        ipv4_address: Option<Field<IpAddr>>,
        /// IPv6 address of the appliance: source of IPv6 tunnels and of ICMPv6 errors.
        ipv6_address: Option<Field<IpAddr>>,
        /// MAC address of the appliance, which the devices of all ports are given; the port's own by default.
        mac_address: Option<Field<Mac>>,
        /// MAC address of the next hop of tunnelled packets; resolved from the backend's address by default.
        gateway_mac_address: Option<Field<Mac>>,
        /// Path MTU to the backends, in bytes of the outermost IP packet.
        mtu: Option<Field<Integer<MIN_MTU, MAX_MTU>>> = Integer(1_500),
        /// Prefixes of the clients in the appliance's own region: only they may use INTERNAL rules without
        /// allow_global_access. By default every client is in the region.
        #[schemars(length(max = MAX_REGION_RANGES))]
        region_ranges: Option<Field<List<IpNet>>>,
        /// Source prefixes of tunnels, whose host part carries the flow's entropy: at most one of each address family;
        /// the appliance's own address by default.
        #[schemars(length(max = 2))]
        tunnel_source_ranges: Option<Field<List<IpNet>>>,
        /// Number of ICMP errors that each worker may send in a second; 0 sends none.
        icmp_errors_per_sec: Option<Field<Integer<0, 1_000_000>>> = Integer(100),
        /// Seconds until each address that the appliance answers for is announced again, by a gratuitous ARP or an
        /// unsolicited neighbor advertisement, so that switches and routers do not forget it; 0 announces it at events only.
        garp_interval_sec: Option<Field<Integer<0, 3_600>>> = Integer(60),
        /// Sends tunnel packets that exceed the path MTU in fragments, where the packet inside is IPv4 without DF; else
        /// such packets are dropped.
        fragment_tunnels: Option<Field<bool>> = false,
    }

    /// Settings that all appliances of a fleet share.
    #[derive(Default)]
    FleetFile {
        /// Key of the selection hash, 32 hexadecimal digits: appliances with one seed choose the same backends.
        seed: Option<Field<Seed>> = Seed(DEFAULT_SEED),
        /// Path of a file that holds the seed, in place of `seed`; one that is relative begins beside the configuration.
        seed_file: Option<Field<NamedPath>>,
    }

    /// Table of tracked connections. A reload does not change its size.
    #[derive(Default)]
    ConntrackFile {
        /// Number of connections that can be tracked at once, of 24 bytes each.
        max_entries: Option<Field<Integer<MIN_ENTRIES, MAX_ENTRIES>>> = Integer(16_777_216),
        /// Sends a SYN on an established connection that was used within 30 s to the connection's backend, instead of starting
        /// the connection anew.
        protect_established: Option<Field<bool>> = false,
        /// Limit on the conntrack entries that each worker makes in a second: packets of further connections are forwarded by
        /// their hash, without an entry. Without it there is no limit.
        new_connections_per_sec: Option<Field<Integer<1, MAX_NEW_CONNECTIONS>>>,
        /// Limit on the tracked connections that one source prefix begins at each worker in a second: packets that would begin
        /// more are dropped. Without it there is no limit.
        new_connections_per_source_per_sec: Option<Field<Integer<1, MAX_NEW_CONNECTIONS>>>,
        /// Length of the IPv4 prefixes that new_connections_per_source_per_sec counts as one source.
        source_ipv4_prefix_length: Option<Field<Integer<1, 32>>> = Integer(32),
        /// Length of the IPv6 prefixes that new_connections_per_source_per_sec counts as one source.
        source_ipv6_prefix_length: Option<Field<Integer<1, 128>>> = Integer(64),
    }

    /// A virtual IP address with a protocol and ports, before a backend service.
    ForwardingRuleFile {
        /// Name of the forwarding rule, unique among forwarding rules.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Name of the network that packets of the rule come from; the first by default. The backend service has the same.
        network: Option<Field<Name>>,
        /// Side of the network that the rule faces; the backend service has the same.
        load_balancing_scheme: Option<Field<Chosen<LoadBalancingScheme>>> = Chosen(LoadBalancingScheme::External),
        /// Virtual IP address, or a prefix of them such as "2001:db8:1234::/96"; no address of the appliance itself. Of the
        /// rules that take a packet, those of the longest prefix come first, an address being the longest.
        ip_address: Field<VipRange>,
        /// Address of the prefix that probes in_path go to; the first by default.
        probe_address: Option<Field<IpAddr>>,
        /// IP protocol that the rule takes; L3_DEFAULT takes every protocol, on all ports.
        ip_protocol: Option<Field<Chosen<RuleProtocol>>> = Chosen(RuleProtocol::Tcp),
        /// Layer-4 ports that the rule takes, one to five, as numbers or as text; or one range of ports as text.
        #[schemars(length(min = 1, max = MAX_PORTS))]
        ports: Option<Field<List<ListedPorts>>>,
        /// Range of layer-4 ports that the rule takes, such as "8000-8100" (EXTERNAL only).
        port_range: Option<Field<PortRange>>,
        /// Takes all ports, and packets without any.
        all_ports: Option<Field<bool>> = false,
        /// Prefixes or addresses of the only clients that the rule takes (EXTERNAL only); another rule of the same address, protocol
        /// and ports must take all other clients.
        #[schemars(length(min = 1, max = MAX_SOURCE_RANGES))]
        source_ip_ranges: Option<Field<List<ClientRange>>>,
        /// Takes clients outside the region_ranges of the network too (INTERNAL only).
        allow_global_access: Option<Field<bool>> = false,
        /// Name of the access list of the sources that the rule admits; without one it admits all.
        access_list: Option<Field<Name>>,
        /// Answers to ARP and neighbour discovery for the address, or for each of the prefix: always, from `guideway vip
        /// announce` to `guideway vip withdraw`, or never. Rules of one address, or of one prefix, agree.
        neighbor_replies: Option<Field<Chosen<NeighborReplies>>> = Chosen(NeighborReplies::Always),
        /// Name of the backend service that packets of the rule go to.
        backend_service: Field<Name>,
    }

    /// Affinity, policies and backend groups behind forwarding rules.
    BackendServiceFile {
        /// Name of the backend service, unique among backend services.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Name of the network that the service's packets leave by; the first by default. Its forwarding rules and backend
        /// groups have the same.
        network: Option<Field<Name>>,
        /// Side of the network that the service faces; its forwarding rules have the same.
        load_balancing_scheme: Option<Field<Chosen<LoadBalancingScheme>>> = Chosen(LoadBalancingScheme::External),
        /// Protocol of the forwarding rules that the service may serve; UNSPECIFIED serves all.
        protocol: Option<Field<Chosen<ServiceProtocol>>> = Chosen(ServiceProtocol::Tcp),
        /// Parts of a packet that choose its backend; CLIENT_IP_NO_DESTINATION is INTERNAL only.
        session_affinity: Option<Field<Chosen<SessionAffinity>>> = Chosen(SessionAffinity::None),
        /// Choice of backends: evenly (MAGLEV), or in proportion to their weights (WEIGHTED_MAGLEV, and by another name
        /// WEIGHTED_GCP_RENDEZVOUS).
        locality_lb_policy: Option<Field<Chosen<LocalityLbPolicy>>> = Chosen(LocalityLbPolicy::Maglev),
        /// Source of the weights (WEIGHTED_MAGLEV only): the answers to health checks of type HTTP, HTTPS or HTTP2, or the
        /// endpoints' own `weight` and the operator.
        weight_source: Option<Field<Chosen<WeightSource>>> = Chosen(WeightSource::Reported),
        /// Name of the health check of the backends, exactly one.
        #[schemars(length(min = 1, max = 1))]
        health_checks: Field<List<Name>>,
        /// Backend groups of the service, each primary or failover: at most 50 of each, at least one primary.
        #[schemars(length(min = 1, max = 2 * MAX_MEMBERS_OF_A_KIND))]
        backends: Field<List<MemberFile>>,
        /// Tracking of connections.
        connection_tracking_policy: Option<Field<TrackingPolicyFile>>,
        /// Draining of the connections of removed backends.
        connection_draining: Option<Field<DrainingFile>>,
        /// Conditions under which the failover groups take over; for services with a failover group.
        failover_policy: Option<Field<FailoverPolicyFile>>,
        /// Subsets of the backends, of which each client meets one (INTERNAL only; not where backends are chosen by weight).
        subsetting: Option<Field<SubsettingFile>>,
    }

    /// A backend group of a service, primary or failover.
    MemberFile {
        /// Name of the backend group.
        group: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// True if the group is a failover group.
        failover: Option<Field<bool>> = false,
    }

    /// Tracking of connections.
    #[derive(Default)]
    TrackingPolicyFile {
        /// Identity of a tracked connection: its 5-tuple (PER_CONNECTION), or the parts of the packet that the session
        /// affinity looks at (PER_SESSION).
        tracking_mode: Option<Field<Chosen<TrackingMode>>> = Chosen(TrackingMode::PerConnection),
        /// Persistence of tracked connections on a backend that turned unhealthy: by protocol, never, or always.
        /// ALWAYS_PERSIST is for PER_CONNECTION only.
        connection_persistence_on_unhealthy_backends: Option<Field<Chosen<PersistenceOnUnhealthy>>> =
            Chosen(PersistenceOnUnhealthy::DefaultForProtocol),
        /// Seconds that an entry outlives its last packet: 60 (EXTERNAL) or 600 (INTERNAL) by default; only INTERNAL
        /// services that track PER_SESSION can raise it.
        idle_timeout_sec: Option<Field<Integer<EXTERNAL_IDLE_TIMEOUT_SEC, MAX_IDLE_TIMEOUT_SEC>>>,
    }

    /// Subsets of the backends, of which each client meets one.
    #[derive(Default)]
    SubsettingFile {
        /// Backends that one client meets: all (NONE), or a subset by a hash of its address (CONSISTENT_HASH_SUBSETTING).
        policy: Option<Field<Chosen<SubsettingPolicy>>> = Chosen(SubsettingPolicy::None),
        /// Number of backends in each subset; required by CONSISTENT_HASH_SUBSETTING, and for it alone. Where no more backends
        /// are eligible, every client meets all of them.
        subset_size: Option<Field<Integer<1, MAX_SUBSET_SIZE>>>,
    }

    /// Draining of the connections of removed backends.
    #[derive(Default)]
    DrainingFile {
        /// Seconds that a removed backend keeps its connections; 0 ends them at once.
        draining_timeout_sec: Option<Field<Integer<0, MAX_DRAINING_TIMEOUT_SEC>>> = Integer(0),
    }

    /// Conditions under which the failover groups take over.
    #[derive(Default)]
    FailoverPolicyFile {
        /// Share of usable primaries, 0.0 to 1.0, below which the failover groups take over; at 0.0 they do when no
        /// primary is usable.
        failover_ratio: Option<Field<Ratio>> = Ratio(0.0),
        /// Drops new connections while no backend is usable.
        drop_traffic_if_unhealthy: Option<Field<bool>> = false,
        /// Ends all connections of the service when traffic moves between primary and failover groups.
        disable_connection_drain_on_failover: Option<Field<bool>> = false,
    }

    /// Endpoints to which packets are delivered in the same way.
    BackendGroupFile {
        /// Name of the backend group, unique among backend groups.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Name of the network that the endpoints are reached by; the first by default.
        network: Option<Field<Name>>,
        /// Delivery of packets to the endpoints: on the link (l2), or in a tunnel.
        delivery: Option<Field<Chosen<Delivery>>> = Chosen(Delivery::L2),
        /// UDP port on which the endpoints decapsulate (gue only).
        // 6080 is the port that IANA assigned to generic UDP encapsulation.
        gue_port: Option<Field<Port>> = Integer(6_080),
        /// Path MTU to the endpoints, in bytes of the outermost IP packet; that of the network by default.
        mtu: Option<Field<Integer<MIN_MTU, MAX_MTU>>>,
        /// Endpoints of the group; an empty list is allowed.
        #[schemars(length(max = MAX_ENDPOINTS_OF_A_GROUP))]
        endpoints: Option<Field<List<EndpointFile>>>,
        /// Path of a file that has the endpoints, in place of `endpoints`, and is watched: JSON in the form of Prometheus's
        /// file_sd. One that is relative begins beside the configuration.
        endpoints_file: Option<Field<NamedPath>>,
        /// Records of the domain name system that are the endpoints, in place of `endpoints`; asked for again as they expire.
        endpoints_dns: Option<Field<EndpointsDnsFile>>,
    }

    /// Records of the domain name system that are the endpoints of a group.
    EndpointsDnsFile {
        /// Whole name that is asked for, such as `web.example.com` or `_http._tcp.web.example.com`; no search list is tried.
        name: Field<DnsName>,
        /// Type of the records: addresses (A, AAAA), or services whose hosts have addresses (SRV).
        r#type: Option<Field<Chosen<EndpointsRecord>>> = Chosen(EndpointsRecord::A),
        /// Servers that are asked, each an address with a port or without; those of /etc/resolv.conf by default.
        #[schemars(length(min = 1, max = MAX_DNS_SERVERS))]
        servers: Option<Field<List<DnsServer>>>,
    }

    /// A machine that receives packets.
    EndpointFile {
        /// Name of the endpoint, unique within every service that uses the group.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Address of the endpoint, unique within every service that uses the group.
        ip_address: Field<IpAddr>,
        /// MAC address of the endpoint; resolved from its IP address by default.
        mac_address: Option<Field<Mac>>,
        /// Weight of the endpoint until health checks report one.
        weight: Option<Field<Integer<0, { MAX_WEIGHT as u32 }>>> = Integer(1),
    }

    /// Probes that find out which backends can serve.
    HealthCheckFile {
        /// Name of the health check, unique among health checks.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Protocol of the probes.
        r#type: Field<Chosen<ProbeType>>,
        /// Seconds from the start of one probe to the start of the next.
        check_interval_sec: Option<Field<Integer<1, 300>>> = Integer(5),
        /// Seconds that a probe may take, at most the interval.
        timeout_sec: Option<Field<Integer<1, 300>>> = Integer(5),
        /// Number of successes in a row that make a backend healthy.
        healthy_threshold: Option<Field<Integer<1, 10>>> = Integer(2),
        /// Number of failures in a row that make a backend unhealthy.
        unhealthy_threshold: Option<Field<Integer<1, 10>>> = Integer(2),
        /// Port of the backend that is probed: 80 (TCP, HTTP) or 443 (SSL, HTTPS, HTTP2) or 53 (DNS) by default; required
        /// for GRPC, GRPC_WITH_TLS and UDP.
        port: Option<Field<Port>>,
        /// Host header (HTTP, HTTPS, HTTP2); the probed address by default.
        #[schemars(length(min = 1))]
        host: Option<Field<Ascii>>,
        /// Path of the request, beginning with a slash (HTTP, HTTPS, HTTP2).
        #[schemars(length(min = 1))]
        request_path: Option<Field<Ascii>> = Ascii("/".to_owned()),
        /// Text that is sent once connected (TCP, SSL), none if it is empty; or the datagram that is sent, required (UDP).
        request: Option<Field<Ascii>> = Ascii(String::new()),
        /// Text that the answer must begin with (TCP, SSL, UDP), or that its body must hold (HTTP, HTTPS, HTTP2); any answer
        /// will do if it is empty.
        response: Option<Field<Ascii>> = Ascii(String::new()),
        /// PROXY protocol header that precedes everything else on the connection (TCP, SSL, HTTP, HTTPS, HTTP2).
        proxy_header: Option<Field<Chosen<ProxyHeader>>> = Chosen(ProxyHeader::None),
        /// Name of the gRPC service whose health is asked for (GRPC, GRPC_WITH_TLS); the whole server if it is empty.
        grpc_service_name: Option<Field<Ascii>> = Ascii(String::new()),
        /// Name that is asked for; required (DNS).
        query_name: Option<Field<DnsName>>,
        /// Type of the record that is asked for (DNS).
        query_type: Option<Field<Chosen<DnsType>>> = Chosen(DnsType::A),
        /// Response code that an answer must have (DNS).
        expected_rcode: Option<Field<Chosen<DnsRcode>>> = Chosen(DnsRcode::NoError),
        /// Path of the probes: to the virtual IP address, delivered as its packets are (in_path), or to the backend's own
        /// address by the kernel's network (kernel).
        transport: Option<Field<Chosen<TransportKind>>> = Chosen(TransportKind::InPath),
        /// Network interface that probes leave by (kernel only); the kernel's choice by default.
        #[schemars(length(min = 1, max = MAX_DEVICE_NAME))]
        bind_device: Option<Field<Ascii>>,
        /// Source address of probes, of the backends' own family (kernel only); the kernel's choice by default.
        source_ip_address: Option<Field<IpAddr>>,
    }

    /// Sources that forwarding rules admit, and those that they deny; the longest prefix that holds a source decides.
    AccessListFile {
        /// Name of the access list, unique among access lists.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Fate of packets whose source is in no prefix of the list.
        default_action: Field<Chosen<AccessAction>>,
        /// Prefixes or addresses, of either family, whose packets are admitted.
        #[schemars(length(max = MAX_ACCESS_LIST_ENTRIES))]
        allow: Option<Field<List<ClientRange>>>,
        /// Prefixes or addresses, of either family, whose packets are dropped.
        #[schemars(length(max = MAX_ACCESS_LIST_ENTRIES))]
        deny: Option<Field<List<ClientRange>>>,
    }

    /// A destination prefix whose next hop is an INTERNAL forwarding rule.
    RouteFile {
        /// Name of the route, unique among routes.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Name of the network that packets of the route come from; the first by default. The next hop has the same.
        network: Option<Field<Name>>,
        /// Prefix of the destinations, of the forwarding rule's address family.
        dest_range: Field<IpNet>,
        /// Name of the INTERNAL forwarding rule that is the next hop.
        next_hop_ilb: Field<Name>,
    }

    /// A way to tell routers about the virtual IP addresses of some forwarding rules.
    AnnouncementFile {
        /// Name of the announcement, unique among announcements.
        name: Field<Name>,
        /// Description for people; of no effect.
        #[expect(dead_code, reason = "its value has no effect, and its errors are reported while it is read")]
        description: Option<Field<Description>>,
        /// Names of the forwarding rules whose addresses are announced; all by default.
        #[schemars(length(min = 1))]
        forwarding_rules: Option<Field<List<Name>>>,
        /// Condition for announcing while the appliance can serve: none (ALWAYS), or enough healthy backends (HEALTHY).
        policy: Option<Field<Chosen<PolicyKind>>> = Chosen(PolicyKind::Healthy),
        /// Number of healthy backends below which a rule's service lets the address be withdrawn (HEALTHY only).
        min_healthy: Option<Field<Integer<1, MAX_MIN_HEALTHY>>> = Integer(1),
        /// Number of healthy backends of a rule's service from which on an address that is not announced is announced
        /// (HEALTHY only): at least min_healthy, and that by default.
        min_healthy_up: Option<Field<Integer<1, MAX_MIN_HEALTHY>>>,
        /// Seconds that an address stays withdrawn at least, once too few backends were healthy or a worker had stalled.
        hold_down_sec: Option<Field<Integer<0, MAX_HOLD_DOWN_SEC>>> = Integer(0),
        /// Path of BIRD's control socket, such as "/run/bird/bird.ctl"; with bird_protocol.
        bird_socket: Option<Field<PathBuf>>,
        /// Name of the BIRD protocol that holds the route to the one address or prefix, disabled when BIRD starts; with
        /// bird_socket.
        #[schemars(length(min = 1, max = MAX_PROTOCOL_NAME))]
        bird_protocol: Option<Field<Ascii>>,
        /// Program and its first arguments, run with announce or withdraw, the address or prefix and a rule's name after them.
        #[schemars(length(min = 1, max = MAX_ARGUMENTS))]
        command: Option<Field<List<Ascii>>>,
    }
}
