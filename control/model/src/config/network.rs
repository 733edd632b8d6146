//! The networks that the appliance is attached to, with its own addresses and path MTU there; the seed of its fleet and the size
//! of its conntrack table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use guideway_dataplane::admission::{Admission, Limits, SourceLimit};
use guideway_dataplane::ingress::NetworkId;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::limits::{MAX_REGION_RANGES, MIN_ENTROPY_BITS};
use super::link;
use super::names::Scope;
use super::report::Report;
use super::source::{FileKind, Remark, Sources};
use super::written::field::{Field, Optional, elements};
use super::written::file::{ConntrackFile, DEFAULT_SEED, FleetFile, NetworkFile};
use super::written::lengths::limit;
use super::written::value::{Mac, NamedPath, Seed};

/// The six bytes of a MAC address, in the order in which they are sent.
pub type MacAddress = [u8; 6];

/// A network that the appliance is attached to: its link, and the appliance's own addresses, MTU and ICMP errors there.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Number of the network: its index in the file, until a reload finds it under another index.
    pub id: NetworkId,
    /// Name of the network, unique among networks; `default` for a sole one that is given none.
    pub name: String,
    /// Index of its port in [`super::Config::ports`]; [`None`] for a sole network, which is on all ports.
    pub port: Option<usize>,
    /// VLAN of the port that the network is; [`None`] if its frames are untagged.
    pub vlan: Option<u16>,
    /// Addresses of the appliance in the VLAN, each with the length of the link's prefix.
    pub addresses: Vec<IpNet>,
    /// Router in the VLAN to all other IPv4 destinations.
    pub ipv4_gateway: Option<IpAddr>,
    /// Router in the VLAN to all other IPv6 destinations.
    pub ipv6_gateway: Option<IpAddr>,
    /// IPv4 address of the appliance: source of its IPv4 tunnels and of its ICMP errors.
    pub ipv4_address: Option<Ipv4Addr>,
    /// IPv6 address of the appliance: source of its IPv6 tunnels and of its ICMPv6 errors.
    pub ipv6_address: Option<Ipv6Addr>,
    /// Source MAC address of frames that the appliance sends; [`None`] means the port's own.
    pub mac_address: Option<MacAddress>,
    /// MAC address of the next hop of tunnelled packets; [`None`] if it is resolved from the backend's address.
    pub gateway_mac_address: Option<MacAddress>,
    /// Path MTU to the backends, in bytes of the outermost IP packet.
    pub mtu: u16,
    /// Prefixes of the clients in the appliance's own region; empty means that every client is in it.
    pub region_ranges: Vec<IpNet>,
    /// Source prefix of IPv4 tunnels, whose host part carries the flow's entropy.
    pub tunnel_source_ipv4: Option<Ipv4Net>,
    /// Source prefix of IPv6 tunnels, whose host part carries the flow's entropy.
    pub tunnel_source_ipv6: Option<Ipv6Net>,
    /// Number of ICMP errors that each worker may send in a second; 0 sends none.
    pub icmp_errors_per_sec: u32,
    /// Interval at which each address that the appliance answers for is announced to its neighbours again; [`None`] never.
    pub garp_interval: Option<Duration>,
    /// True if tunnels carry IPv4 packets without DF that do not fit them in fragments.
    pub fragment_tunnels: bool,
}

/// Networks of a file in its order, at least one: without any table, one with the defaults of all keys.
pub(super) fn parse(scope: &Scope<'_>, report: &mut Report) -> Vec<Option<Network>> {
    (0..scope.networks.count()).map(|index| Network::parse(index, scope, report)).collect()
}

impl Network {
    /// Index of a port that there is not: of a network that waits for the start at which its port is taken over.
    pub const NO_PORT: usize = u8::MAX as usize;

    fn parse(index: usize, scope: &Scope<'_>, report: &mut Report) -> Option<Self> {
        let default = NetworkFile::default();
        let file = match scope.networks.table(index) {
            Some(file) => file,
            None if scope.networks.is_readable(index) => &default,
            None => return None,
        };

        let ipv4_address = match file.ipv4_address.written() {
            Some(IpAddr::V4(address)) => Some(*address),
            other => {
                wrong_family(&file.ipv4_address, other, "IPv4", report);
                None
            }
        };
        let ipv6_address = match file.ipv6_address.written() {
            Some(IpAddr::V6(address)) => Some(*address),
            other => {
                wrong_family(&file.ipv6_address, other, "IPv6", report);
                None
            }
        };
        let port = match &file.port {
            Some(name) => scope.ports.resolve(name, report).map(Some),
            None => Some((scope.networks.count() > 1 || file.vlan.is_some()).then_some(0)),
        };
        let link = link::parse(&file.ip_addresses, &file.gateways, "network", report);
        let region_ranges = elements(&file.region_ranges);
        limit("region ranges", region_ranges, MAX_REGION_RANGES, report);
        let (tunnel_source_ipv4, tunnel_source_ipv6) =
            tunnel_sources(elements(&file.tunnel_source_ranges), report);

        Some(Self {
            id: NetworkId(index as u8),
            name: scope.networks.name(index).to_owned(),
            port: port?,
            vlan: match &file.vlan {
                Some(vlan) => Some(vlan.copied()?.as_u16()),
                None => None,
            },
            addresses: link.addresses?,
            ipv4_gateway: link.ipv4_gateway,
            ipv6_gateway: link.ipv6_gateway,
            ipv4_address,
            ipv6_address,
            mac_address: file.mac_address.written().map(|mac: &Mac| mac.0),
            gateway_mac_address: file.gateway_mac_address.written().map(|mac: &Mac| mac.0),
            mtu: file.mtu()?.as_u16(),
            region_ranges: region_ranges.iter().map(Field::copied).collect::<Option<_>>()?,
            tunnel_source_ipv4,
            tunnel_source_ipv6,
            icmp_errors_per_sec: file.icmp_errors_per_sec()?.0,
            garp_interval: match file.garp_interval_sec()?.0 {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            },
            fragment_tunnels: file.fragment_tunnels()?,
        })
    }
}

fn wrong_family(field: &Option<Field<IpAddr>>, found: Option<&IpAddr>, family: &str, report: &mut Report) {
    if let (Some(field), Some(address)) = (field, found) {
        let key = family.to_lowercase();
        let other = if family == "IPv4" { "ipv6_address" } else { "ipv4_address" };
        let message = format!("`{key}_address` must be an {family} address, `{address}` is not");
        report.error(field.span(), message, format!("write it as `{other}`"));
    }
}

/// Parses the source prefixes of tunnels, at most one of each address family.
fn tunnel_sources(ranges: &[Field<IpNet>], report: &mut Report) -> (Option<Ipv4Net>, Option<Ipv6Net>) {
    let (mut ipv4, mut ipv6) = (None, None);
    for range in ranges {
        let earlier = match range.get() {
            Some(IpNet::V4(prefix)) => ipv4.replace((*prefix, range.span())).map(|(_, span)| span),
            Some(IpNet::V6(prefix)) => ipv6.replace((*prefix, range.span())).map(|(_, span)| span),
            None => None,
        };
        if let Some(prefix) = range.get()
            && (prefix.addr().is_multicast() || prefix.addr().is_unspecified() || prefix.addr().is_loopback())
        {
            let message = format!("`{prefix}` holds no source addresses");
            report.error(range.span(), message, "write a unicast prefix that the backends take tunnels from");
        }
        if let Some(prefix) = range.get()
            && prefix.max_prefix_len() - prefix.prefix_len() < MIN_ENTROPY_BITS
        {
            let message = format!("`{prefix}` has no room for a flow's entropy");
            let widest = prefix.max_prefix_len() - MIN_ENTROPY_BITS;
            report.error(
                range.span(),
                message,
                format!("write a prefix of at most {widest} bits, or leave it out"),
            );
        }
        if let Some(earlier) = earlier {
            report.error_beside(
                range.span(),
                "two tunnel source ranges of one family",
                "keep at most one IPv4 prefix and one IPv6 prefix",
                [(earlier, "the first".to_owned())],
            );
        }
    }
    (ipv4.map(|(prefix, _)| prefix), ipv6.map(|(prefix, _)| prefix))
}

/// Settings that all appliances of a fleet share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Key of the selection hash: appliances with one seed choose the same backends.
    pub seed: [u8; 16],
}

/// Size of the conntrack table, and admission to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Number of connections that can be tracked at once. A reload does not change it.
    pub max_entries: u32,
    /// SYNs and entries that are admitted.
    pub admission: Admission,
}

impl Fleet {
    /// Seed of appliances that are given none: the ASCII text `guideway-default`.
    pub const DEFAULT_SEED: [u8; 16] = DEFAULT_SEED;

    pub(super) fn parse(
        file: &Option<Field<FleetFile>>,
        sources: &Sources,
        remarks: &mut Vec<Remark>,
        report: &mut Report,
    ) -> Option<Self> {
        let file = file.value_or_default()?;
        let Some(seed_file) = &file.seed_file else { return Some(Self { seed: file.seed()?.0 }) };
        if let Some(seed) = &file.seed {
            let help =
                "leave one of them out: a file keeps the seed out of a configuration that is shown around";
            let related = [(seed.span(), "the other".to_owned())];
            report.error_beside(seed_file.span(), "both `seed` and `seed_file`", help, related);
            return None;
        }
        let NamedPath(path) = seed_file.get()?;
        let Some(found) = sources.secret_file(FileKind::Seed, seed_file.span().start, path) else {
            let help = "read the configuration from a file of the same machine, or write the `seed` itself";
            report.error(seed_file.span(), format!("`{path}` did not come with the configuration"), help);
            return None;
        };
        let name = &found.name;
        let wrong = match found.text.as_deref().map(Seed::of_file) {
            Ok(Some(Seed(seed))) => {
                if found.is_public {
                    remarks.push(Remark {
                        text: format!(
                            "every user may read the seed in {name}, and who knows it may aim flows"
                        ),
                        remedy: format!("`chmod o-r {name}`"),
                    });
                }
                return Some(Self { seed });
            }
            // The content may be a seed in which one digit is wrong.
            Ok(None) => format!("`{name}` does not hold 32 hexadecimal digits, and nothing else"),
            Err(error) => format!("cannot read `{name}`: {error}"),
        };
        let help = format!(
            "make one with `openssl rand -hex 16 > {name}`, and give the same file to every appliance of the fleet"
        );
        report.error(seed_file.span(), wrong, help);
        None
    }
}

impl Conntrack {
    pub(super) fn parse(file: &Option<Field<ConntrackFile>>, report: &mut Report) -> Option<Self> {
        let file = file.value_or_default()?;
        let limits = match &file.new_connections_per_sec {
            Some(limit) => Some(NonZeroU32::new(limit.copied()?.0)),
            None => None,
        };
        let admission = Admission {
            protect_established: file.protect_established()?,
            limits: Limits::new(limits.flatten(), source_limit(&file, report)?),
        };
        Some(Self { max_entries: file.max_entries()?.0, admission })
    }
}

/// Limit on the connections of a source, if there is one; none at all where its keys are wrong.
fn source_limit(file: &ConntrackFile, report: &mut Report) -> Option<Option<SourceLimit>> {
    let Some(limit) = &file.new_connections_per_source_per_sec else {
        let lengths = [
            ("source_ipv4_prefix_length", file.source_ipv4_prefix_length.as_ref().map(Field::span)),
            ("source_ipv6_prefix_length", file.source_ipv6_prefix_length.as_ref().map(Field::span)),
        ];
        let lengths = lengths.into_iter().filter_map(|(key, span)| Some((key, span?)));
        let mut is_right = true;
        for (key, span) in lengths {
            is_right = false;
            let message = format!("`{key}` without `new_connections_per_source_per_sec`");
            let help =
                "set the limit beside it, or leave the length out: without a limit no source is counted";
            report.error(span, message, help);
        }
        return is_right.then_some(None);
    };
    Some(Some(SourceLimit {
        per_sec: NonZeroU32::new(limit.copied()?.0)?,
        ipv4_prefix_length: file.source_ipv4_prefix_length()?.0 as u8,
        ipv6_prefix_length: file.source_ipv6_prefix_length()?.0 as u8,
    }))
}
