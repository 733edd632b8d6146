//! The configuration as it is written: the tables of the file and their keys.
//!
//! What one key can hold is checked while it is read; rules that concern several keys are checked in the file
//! of the noun that they are about. The comments here are the descriptions that editors show.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use guideway_dataplane::affinity::{
    LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};
use guideway_engine::driver::device::Device;
use ipnet::IpNet;

use super::choice::{
    Chosen, Delivery, LocalityLbPolicy, NeighborReplies, PolicyKind, ProbeType, ProxyHeader, RuleProtocol,
    ServiceProtocol, TransportKind,
};
use super::field::{Field, tables};
use super::value::{Ascii, Core, Integer, InterfaceAddress, Mac, Name, Port, PortRange, Ratio, Seed};
use crate::config::limits::{
    MAX_DRAINING_TIMEOUT_SEC, MAX_ENTRIES, MAX_IDLE_TIMEOUT_SEC, MAX_MIN_HEALTHY, MAX_MTU, MAX_WEIGHT,
    MIN_ENTRIES, MIN_MTU,
};

/// A list of values, each wrong or right by itself.
type List<T> = Vec<Field<T>>;

/// Path of the admin API's Unix socket, unless the configuration names another.
pub(in crate::config) const DEFAULT_SOCKET: &str = "/run/guideway/admin.sock";

/// Seed of appliances that are given none: the ASCII text `guideway-default`.
pub(in crate::config) const DEFAULT_SEED: [u8; 16] = *b"guideway-default";

tables! {
    /// The configuration of one Guideway appliance.
    ConfigFile {
        /// How the engine uses the machine.
        engine: Option<Field<EngineFile>>,
        /// The devices that packets come and go by.
        port: Option<Field<List<PortFile>>>,
        /// Where the running appliance is steered.
        admin: Option<Field<AdminFile>>,
        /// Where Prometheus finds the running appliance.
        metrics: Option<Field<MetricsFile>>,
        /// The appliance's own place in the network.
        network: Option<Field<NetworkFile>>,
        /// What all appliances of a fleet share.
        fleet: Option<Field<FleetFile>>,
        /// The conntrack table.
        conntrack: Option<Field<ConntrackFile>>,
        /// Virtual IP addresses with a protocol and ports, each before a backend service.
        forwarding_rule: Option<Field<List<ForwardingRuleFile>>>,
        /// Affinity, policies and backend groups behind forwarding rules.
        backend_service: Option<Field<List<BackendServiceFile>>>,
        /// Endpoints that receive packets.
        backend_group: Option<Field<List<BackendGroupFile>>>,
        /// How backends are asked whether they can serve.
        health_check: Option<Field<List<HealthCheckFile>>>,
        /// Destination prefixes whose next hop is an INTERNAL forwarding rule.
        route: Option<Field<List<RouteFile>>>,
        /// How routers learn the way to virtual IP addresses, and when.
        announcement: Option<Field<List<AnnouncementFile>>>,
    }

    /// How the engine uses the machine.
    #[derive(Default)]
    EngineFile {
        /// Cores of the workers, one worker each; by default all that the process may use but the control thread's.
        worker_cores: Option<Field<List<Core>>>,
        /// Core of the control thread; by default the lowest that the process may use.
        control_core: Option<Field<Core>>,
        /// Frames lie in ordinary pages: for tests, unfit for hardware.
        no_huge: Option<Field<bool>> = false,
        /// Memory for frames in ordinary pages, in MiB.
        memory_mib: Option<Field<Integer<64, 1_048_576>>> = Integer(512),
        /// Frames that there is memory for; by default as many as queues, workers and the host path can hold.
        mbufs: Option<Field<Integer<1_023, 134_217_727>>>,
    }

    /// A device that packets come and go by.
    PortFile {
        /// Unique among ports.
        name: Field<Name>,
        /// PCI address ("0000:3b:02.0") or virtual device in DPDK's words ("net_af_packet0,iface=eth0").
        device: Field<Device>,
        /// The appliance's own addresses on the link, each with the length of the prefix that is on it.
        ip_addresses: Option<Field<List<InterfaceAddress>>>,
        /// Routers on the link to everywhere else, at most one a family.
        gateways: Option<Field<List<IpAddr>>>,
        /// The longest packet that the port takes.
        mtu: Option<Field<Integer<MIN_MTU, MAX_MTU>>> = Integer(1_500),
        /// Descriptors of each receive queue.
        rx_descriptors: Option<Field<Integer<64, 32_768>>> = Integer(1_024),
        /// Descriptors of each transmit queue.
        tx_descriptors: Option<Field<Integer<64, 32_768>>> = Integer(1_024),
        /// Takes frames for any MAC address.
        promiscuous: Option<Field<bool>> = false,
    }

    /// Where the running appliance is steered.
    #[derive(Default)]
    AdminFile {
        /// Path of the Unix socket.
        socket: Option<Field<PathBuf>> = PathBuf::from(DEFAULT_SOCKET),
    }

    /// Where Prometheus finds the running appliance.
    #[derive(Default)]
    MetricsFile {
        /// Address and port of the listener.
        listen: Option<Field<SocketAddr>> = SocketAddr::from(([127, 0, 0, 1], 9_477)),
    }

    /// The appliance's own place in the network.
    #[derive(Default)]
    NetworkFile {
        /// The appliance's IPv4 address: source of IPv4 tunnels and of ICMP errors.
        ipv4_address: Option<Field<IpAddr>>,
        /// The appliance's IPv6 address: source of IPv6 tunnels and of ICMPv6 errors.
        ipv6_address: Option<Field<IpAddr>>,
        /// Source MAC address of what the appliance sends; the port's own by default.
        mac_address: Option<Field<Mac>>,
        /// Next hop of tunnelled packets; resolved from the backend's address by default.
        gateway_mac_address: Option<Field<Mac>>,
        /// Path MTU to the backends: bytes of the outermost IP packet.
        mtu: Option<Field<Integer<MIN_MTU, MAX_MTU>>> = Integer(1_500),
        /// Where clients of the appliance's own region live, for rules without allow_global_access.
        region_ranges: Option<Field<List<IpNet>>>,
        /// Source prefixes of tunnels whose host part carries the flow's entropy, at most one a family.
        tunnel_source_ranges: Option<Field<List<IpNet>>>,
        /// ICMP errors that each worker may send in a second; 0 sends none.
        icmp_errors_per_sec: Option<Field<Integer<0, 1_000_000>>> = Integer(100),
    }

    /// What all appliances of a fleet share.
    #[derive(Default)]
    FleetFile {
        /// Key of the selection hash: appliances with one seed choose the same backends.
        seed: Option<Field<Seed>> = Seed(DEFAULT_SEED),
    }

    /// The conntrack table.
    #[derive(Default)]
    ConntrackFile {
        /// Connections that can be tracked at once.
        max_entries: Option<Field<Integer<MIN_ENTRIES, MAX_ENTRIES>>> = Integer(16_777_216),
    }

    /// A virtual IP address with a protocol and ports, before a backend service.
    ForwardingRuleFile {
        /// Unique among forwarding rules.
        name: Field<Name>,
        /// Which side of the network it faces; the backend service's scheme too.
        load_balancing_scheme: Option<Field<Chosen<LoadBalancingScheme>>> = Chosen(LoadBalancingScheme::External),
        /// The virtual IP address.
        ip_address: Field<IpAddr>,
        /// Which IP protocols it takes; L3_DEFAULT takes all of them, on all ports.
        ip_protocol: Option<Field<Chosen<RuleProtocol>>> = Chosen(RuleProtocol::Tcp),
        /// One to five ports.
        ports: Option<Field<List<Port>>>,
        /// A range of ports such as "8000-8100" (EXTERNAL only).
        port_range: Option<Field<PortRange>>,
        /// Takes all ports, and packets without any.
        all_ports: Option<Field<bool>> = false,
        /// Takes clients in these prefixes alone (EXTERNAL only); needs a rule without, else alike.
        source_ip_ranges: Option<Field<List<IpNet>>>,
        /// Takes clients outside the region_ranges of the network table too (INTERNAL only).
        allow_global_access: Option<Field<bool>> = false,
        /// Whether the appliance answers ARP and neighbour discovery for the address; rules of one address agree.
        neighbor_replies: Option<Field<Chosen<NeighborReplies>>> = Chosen(NeighborReplies::Always),
        /// Name of the backend service.
        backend_service: Field<Name>,
    }

    /// Affinity, policies and backend groups behind forwarding rules.
    BackendServiceFile {
        /// Unique among backend services.
        name: Field<Name>,
        /// Which side of the network it faces.
        load_balancing_scheme: Option<Field<Chosen<LoadBalancingScheme>>> = Chosen(LoadBalancingScheme::External),
        /// Which forwarding rules it may serve; UNSPECIFIED serves all.
        protocol: Option<Field<Chosen<ServiceProtocol>>> = Chosen(ServiceProtocol::Tcp),
        /// Which parts of a packet choose its backend.
        session_affinity: Option<Field<Chosen<SessionAffinity>>> = Chosen(SessionAffinity::None),
        /// Whether backends are chosen evenly or in proportion to their weights.
        locality_lb_policy: Option<Field<Chosen<LocalityLbPolicy>>> = Chosen(LocalityLbPolicy::Maglev),
        /// Name of the health check: exactly one.
        health_checks: Field<List<Name>>,
        /// The backend groups, each primary or failover: at most 50 of each.
        backends: Field<List<MemberFile>>,
        /// How connections are tracked.
        connection_tracking_policy: Option<Field<TrackingPolicyFile>>,
        /// How long removed backends keep their connections.
        connection_draining: Option<Field<DrainingFile>>,
        /// When the failover groups take over.
        failover_policy: Option<Field<FailoverPolicyFile>>,
    }

    /// A backend group in its part within one service.
    MemberFile {
        /// Name of the backend group.
        group: Field<Name>,
        /// Whether it is a failover group.
        failover: Option<Field<bool>> = false,
    }

    /// How connections are tracked.
    #[derive(Default)]
    TrackingPolicyFile {
        /// What names a tracked connection: its ports too, or the session affinity's parts.
        tracking_mode: Option<Field<Chosen<TrackingMode>>> = Chosen(TrackingMode::PerConnection),
        /// Whether tracked connections stay on a backend that turned unhealthy.
        connection_persistence_on_unhealthy_backends: Option<Field<Chosen<PersistenceOnUnhealthy>>> =
            Chosen(PersistenceOnUnhealthy::DefaultForProtocol),
        /// Seconds that an entry outlives its last packet: 60 EXTERNAL; 600 INTERNAL, where it can be raised.
        idle_timeout_sec: Option<Field<Integer<60, MAX_IDLE_TIMEOUT_SEC>>>,
    }

    /// How long removed backends keep their connections.
    #[derive(Default)]
    DrainingFile {
        /// Seconds; 0 ends them at once.
        draining_timeout_sec: Option<Field<Integer<0, MAX_DRAINING_TIMEOUT_SEC>>> = Integer(0),
    }

    /// When the failover groups take over.
    #[derive(Default)]
    FailoverPolicyFile {
        /// Share of usable primaries below which the failover groups take over.
        failover_ratio: Option<Field<Ratio>> = Ratio(0.0),
        /// Drops new connections while no backend is usable.
        drop_traffic_if_unhealthy: Option<Field<bool>> = false,
        /// Ends all connections of the service when the pool switches.
        disable_connection_drain_on_failover: Option<Field<bool>> = false,
    }

    /// Endpoints that receive packets in one way.
    BackendGroupFile {
        /// Unique among backend groups.
        name: Field<Name>,
        /// How packets travel to its endpoints.
        delivery: Option<Field<Chosen<Delivery>>> = Chosen(Delivery::L2),
        /// UDP port on which the endpoints decapsulate (gue only).
        // As IANA assigned it.
        gue_port: Option<Field<Port>> = Integer(6_080),
        /// Path MTU to its endpoints, where it is not that of the network table.
        mtu: Option<Field<Integer<MIN_MTU, MAX_MTU>>>,
        /// The endpoints; there may be none.
        endpoints: Field<List<EndpointFile>>,
    }

    /// A machine that receives packets.
    EndpointFile {
        /// Unique within every service that uses its group.
        name: Field<Name>,
        /// Its own address, unique within every service that uses its group.
        ip_address: Field<IpAddr>,
        /// Its MAC address; resolved from the address by default.
        mac_address: Option<Field<Mac>>,
        /// Its weight until health checks report one.
        weight: Option<Field<Integer<0, { MAX_WEIGHT as u32 }>>> = Integer(1),
    }

    /// How backends are asked whether they can serve.
    HealthCheckFile {
        /// Unique among health checks.
        name: Field<Name>,
        /// What a probe speaks.
        r#type: Field<Chosen<ProbeType>>,
        /// Seconds from one probe to the next.
        check_interval_sec: Option<Field<Integer<1, 300>>> = Integer(5),
        /// Seconds that a probe may take; at most the interval.
        timeout_sec: Option<Field<Integer<1, 300>>> = Integer(5),
        /// Successes in a row that make a backend healthy.
        healthy_threshold: Option<Field<Integer<1, 10>>> = Integer(2),
        /// Failures in a row that make a backend unhealthy.
        unhealthy_threshold: Option<Field<Integer<1, 10>>> = Integer(2),
        /// Port that is probed: 80 for TCP and HTTP, 443 for SSL, HTTPS and HTTP2; GRPC has no default.
        port: Option<Field<Port>>,
        /// Host header (HTTP, HTTPS, HTTP2); the probed address by default.
        host: Option<Field<Ascii>>,
        /// Path of the request (HTTP, HTTPS, HTTP2).
        request_path: Option<Field<Ascii>> = Ascii("/".to_owned()),
        /// What is sent once connected (TCP, SSL).
        request: Option<Field<Ascii>>,
        /// What must come back (every type but GRPC).
        response: Option<Field<Ascii>>,
        /// What precedes everything else on the connection (every type but GRPC).
        proxy_header: Option<Field<Chosen<ProxyHeader>>> = Chosen(ProxyHeader::None),
        /// Service that is asked for (GRPC); the whole server by default.
        grpc_service_name: Option<Field<Ascii>>,
        /// Whether probes are delivered to the virtual IP address as its packets are, or go by the kernel's network.
        transport: Option<Field<Chosen<TransportKind>>> = Chosen(TransportKind::InPath),
        /// The kernel's interface that probes leave by (kernel only).
        bind_device: Option<Field<Ascii>>,
        /// The address that probes leave from (kernel only).
        source_ip_address: Option<Field<IpAddr>>,
    }

    /// A destination prefix whose next hop is an INTERNAL forwarding rule.
    RouteFile {
        /// Unique among routes.
        name: Field<Name>,
        /// The destinations; of the rule's family.
        dest_range: Field<IpNet>,
        /// Name of an INTERNAL forwarding rule.
        next_hop_ilb: Field<Name>,
    }

    /// How routers learn the way to the virtual IP addresses of some forwarding rules, and when.
    AnnouncementFile {
        /// Unique among announcements.
        name: Field<Name>,
        /// Names of the forwarding rules; all by default.
        forwarding_rules: Option<Field<List<Name>>>,
        /// Whether health checks have a say in it.
        policy: Option<Field<Chosen<PolicyKind>>> = Chosen(PolicyKind::Healthy),
        /// Healthy backends that a rule's service needs (HEALTHY only).
        min_healthy: Option<Field<Integer<1, MAX_MIN_HEALTHY>>> = Integer(1),
        /// BIRD's control socket, such as "/run/bird/bird.ctl".
        bird_socket: Option<Field<PathBuf>>,
        /// BIRD's protocol that holds the route to the one address, disabled when BIRD starts.
        bird_protocol: Option<Field<Ascii>>,
        /// Program and first arguments, run with announce or withdraw, the address and a rule's name after them.
        command: Option<Field<List<Ascii>>>,
    }
}
