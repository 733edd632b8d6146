//! Path MTUs of tunnels, learnt from the ICMP errors that routers send about the appliance's own tunnel packets.
//!
//! ```text
//!  router ── "fragmentation needed: 1400", quotes IP(own → endpoint) │ tunnel │ packet ──▶ PathMtus
//!  PathMtus ── endpoint: 1400, for 10 minutes ──▶ deliveries of the next snapshot ──▶ clients are told
//! ```
//!
//! Anybody may forge such an error. So it counts only if it quotes a packet that the appliance can have sent (RFC 5927,
//! section 4): from its own address or source prefix, to the endpoint of a tunnel, with that tunnel's headers, of a length
//! that fits the configured MTU and not the reported one, which is no less than every path of its family may be expected to
//! carry. It lowers the MTU and never raises it, is forgotten after ten minutes (RFC 1191, section 6.3; RFC 8201,
//! section 5.3), and no more than [`ERRORS_PER_SEC`] are looked at in a second.

mod tunnel_error;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::wire::ipv6;

use crate::service::Services;

use tunnel_error::{Cause, TunnelError};

/// Time for which a learnt MTU holds.
pub const LIFETIME: Duration = Duration::from_secs(600);

/// ICMP errors that are looked at in a second.
pub const ERRORS_PER_SEC: u32 = 100;

/// Time in which the MTU of one path is lowered once.
const REST: Duration = Duration::from_secs(1);

/// Smallest MTU that is believed of an IPv4 path: what every host must be able to receive (RFC 791, section 3.1).
const IPV4_FLOOR: u16 = 576;

/// Smallest MTU that is believed of an IPv6 path (RFC 8201, section 4).
const IPV6_FLOOR: u16 = ipv6::MIN_MTU as u16;

/// MTUs to try below a packet that was too big for a router which does not say its own (RFC 1191, section 7.1).
const PLATEAUS: [u16; 7] = [8_166, 4_352, 2_002, 1_492, 1_006, 576, 508];

/// Path MTUs and unreachable endpoints that routers have told of.
#[derive(Clone, Debug, Default)]
pub struct PathMtus {
    /// By the network and the endpoint of tunnels.
    learnt: BTreeMap<(NetworkId, Address), PathMtu>,
    /// By the network and the endpoint of tunnels: the latest error of each.
    unreachable: BTreeMap<(NetworkId, Address), Unreachable>,
    /// Second of the latest errors, and the number of them.
    second: (u64, u32),
    counts: TunnelErrorCounts,
}

/// Learnt MTU of the path to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// MTU, in bytes of the outermost packet.
    pub mtu: u16,
    /// Router that told of it.
    pub told_by: Address,
    /// Time until which it holds.
    pub until: Duration,
}

/// Error about an endpoint that tunnel packets did not reach, or that has no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Error in words, and behind a colon what it makes one ask.
    pub cause: &'static str,
    /// Host or router that told of it.
    pub told_by: Address,
    /// Time at which it told of it.
    pub at: Duration,
}

/// Number of ICMP errors about own tunnel packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelErrorCounts {
    /// Errors that lowered the MTU of a path.
    pub learnt: u64,
    /// Errors that told of an endpoint that tunnel packets did not reach.
    pub unreachable: u64,
    /// Errors that no packet of the appliance can have caused, that taught nothing new, or that were too many.
    pub ignored: u64,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told_by = IpAddr::from(self.told_by);
        match self.cause.split_once(": ") {
            Some((error, question)) => write!(f, "{error} from {told_by}: {question}"),
            None => write!(f, "{} from {told_by}", self.cause),
        }
    }
}

impl PathMtus {
    /// Takes in a frame of a network that may hold an ICMP error about a tunnel packet to a backend of `services` there.
    /// Returns the endpoint whose MTU is lower from now on, if there is one.
    pub fn take_in(
        &mut self,
        network: NetworkId,
        frame: &[u8],
        services: &Services,
        now: Duration,
    ) -> Option<(Address, PathMtu)> {
        let error = TunnelError::read(frame)?;
        if self.second.0 != now.as_secs() {
            self.second = (now.as_secs(), 0);
        }
        self.second.1 += 1;
        let lowered =
            (self.second.1 <= ERRORS_PER_SEC).then(|| self.judge(network, &error, services, now)).flatten();
        match lowered {
            Some(Judged::Lowered(path_mtu)) => {
                self.counts.learnt += 1;
                Some((error.endpoint, path_mtu))
            }
            Some(Judged::Unreachable) => {
                self.counts.unreachable += 1;
                None
            }
            None => {
                self.counts.ignored += 1;
                None
            }
        }
    }

    /// True if `frame` may hold an ICMP error about a tunnel packet, whoever sent that.
    pub fn is_candidate(frame: &[u8]) -> bool {
        TunnelError::read(frame).is_some()
    }

    /// Forgets what is older than its lifetime at `now`; true where there was anything.
    pub fn expire(&mut self, now: Duration) -> bool {
        let before = self.learnt.len();
        self.learnt.retain(|_, path_mtu| now < path_mtu.until);
        self.unreachable.retain(|_, error| now < error.at + LIFETIME);
        self.learnt.len() < before
    }

    /// Forgets what was learnt in networks that are gone, of which `is_there` is false.
    pub fn retain(&mut self, is_there: impl Fn(NetworkId) -> bool) {
        self.learnt.retain(|(network, _), _| is_there(*network));
        self.unreachable.retain(|(network, _), _| is_there(*network));
    }

    /// Learnt MTU of the path to an endpoint in a network.
    pub fn learnt(&self, network: NetworkId, endpoint: Address) -> Option<PathMtu> {
        self.learnt.get(&(network, endpoint)).copied()
    }

    /// Error that told of an endpoint in a network at `since` or later.
    pub fn unreachable_since(
        &self,
        network: NetworkId,
        endpoint: Address,
        since: Duration,
    ) -> Option<Unreachable> {
        self.unreachable.get(&(network, endpoint)).copied().filter(|error| error.at >= since)
    }

    /// Number of errors so far.
    pub fn counts(&self) -> TunnelErrorCounts {
        self.counts
    }

    fn judge(
        &mut self,
        network: NetworkId,
        error: &TunnelError<'_>,
        services: &Services,
        now: Duration,
    ) -> Option<Judged> {
        let of_network = services.iter().filter(|(_, state)| state.network() == network);
        let backends = of_network.flat_map(|(_, state)| state.backends());
        let mtu = backends.filter(|backend| error.is_about(backend)).map(|backend| backend.mtu).max()?;
        let reported = match error.cause {
            Cause::TooBig(reported) => reported,
            Cause::Unreachable(cause) => {
                let unreachable = Unreachable { cause, told_by: error.told_by, at: now };
                self.unreachable.insert((network, error.endpoint), unreachable);
                return Some(Judged::Unreachable);
            }
        };
        // Packets that fit are not too big, and longer ones than the appliance sends were none of its own.
        if reported >= u32::from(error.quoted_len) || error.quoted_len > mtu {
            return None;
        }
        let lower = if error.endpoint.is_ipv4() {
            let told = match reported as u16 {
                // RFC 1191, section 5: a router that does not know of the field.
                0 => PLATEAUS.into_iter().find(|plateau| *plateau < error.quoted_len)?,
                told => told,
            };
            told.max(IPV4_FLOOR)
        } else {
            // RFC 8201, section 4: one that reports less is discarded.
            u16::try_from(reported).ok().filter(|told| *told >= IPV6_FLOOR)?
        };
        let known = self.learnt.get(&(network, error.endpoint)).filter(|known| now < known.until);
        // A path that gets narrower a second time at once is none: each lowering makes every tunnel's headers anew.
        let is_new = |known: &&PathMtu| lower < known.mtu && known.until + REST <= now + LIFETIME;
        if lower >= mtu || lower >= error.quoted_len || known.is_some_and(|known| !is_new(&known)) {
            return None;
        }
        let path_mtu = PathMtu { mtu: lower, told_by: error.told_by, until: now + LIFETIME };
        self.learnt.insert((network, error.endpoint), path_mtu);
        Some(Judged::Lowered(path_mtu))
    }
}

enum Judged {
    Lowered(PathMtu),
    Unreachable,
}

#[cfg(test)]
mod tests {
    use pcap_fixtures::packet::Packet;

    use super::*;
    use crate::config::Config;
    use crate::forwarding_state::ForwardingState;

    const CONFIG: &str = r#"
[network]
ipv4_address = "192.0.2.1"
ipv6_address = "2001:db8:1::1"
[[forwarding_rule]]
name = "web"
ip_address = "203.0.113.10"
ports = [80]
backend_service = "web"
[[backend_service]]
name = "web"
health_checks = ["alive"]
backends = [{ group = "ipip" }, { group = "gre" }, { group = "gue" }, { group = "near" }]
[[health_check]]
name = "alive"
type = "TCP"
[[backend_group]]
name = "ipip"
delivery = "ipip"
endpoints = [{ name = "p4", ip_address = "198.18.0.1" }, { name = "p6", ip_address = "2001:db8:2::1" }]
[[backend_group]]
name = "gre"
delivery = "gre"
endpoints = [{ name = "r4", ip_address = "198.18.0.2" }, { name = "r6", ip_address = "2001:db8:2::2" }]
[[backend_group]]
name = "gue"
delivery = "gue"
endpoints = [{ name = "u4", ip_address = "198.18.0.3" }, { name = "u6", ip_address = "2001:db8:2::3" }]
[[backend_group]]
name = "near"
endpoints = [{ name = "n4", ip_address = "198.18.0.4" }]
"#;

    fn state(network: &str) -> ForwardingState {
        let text = CONFIG.replace("[network]", &format!("[network]\n{network}"));
        ForwardingState::offline(Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}")))
    }

    /// Packet of a client, as long as a path of 1,480 bytes takes, and no longer than `len`.
    fn inner(len: usize) -> Vec<u8> {
        Packet::between("198.51.100.7", "203.0.113.10")
            .dont_fragment()
            .tcp(1, 80, 0x10)
            .payload_len(len - 40)
            .ip_bytes()
    }

    fn outer(source: &str, endpoint: &str) -> Packet {
        Packet::between(source, endpoint).dont_fragment()
    }

    fn ipip4(len: usize) -> Packet {
        outer("192.0.2.1", "198.18.0.1").protocol(4).payload(&inner(len))
    }

    fn ipip6() -> Packet {
        outer("2001:db8:1::1", "2001:db8:2::1").protocol(4).payload(&inner(1400))
    }

    fn gue(source: &str, endpoint: &str, src_port: u16) -> Packet {
        outer(source, endpoint).udp(src_port, 6080).payload(&[&[0, 4, 0, 0][..], &inner(1400)].concat())
    }

    fn told(mtu: u16, quoted: &Packet, quote_len: usize) -> Packet {
        let to = if quoted.build()[12] == 0x08 {
            ("192.0.2.254", "192.0.2.1")
        } else {
            ("2001:db8:1::fe", "2001:db8:1::1")
        };
        Packet::between(to.0, to.1).packet_too_big(mtu, quoted, quote_len)
    }

    fn learn(state: &mut ForwardingState, error: &Packet, at: u64) -> Option<(IpAddr, u16)> {
        let learnt = state.take_in_tunnel_error(NetworkId::FIRST, &error.build(), Duration::from_secs(at));
        learnt.map(|(endpoint, path_mtu)| (endpoint.into(), path_mtu.mtu))
    }

    #[test]
    fn an_error_about_a_tunnel_packet_lowers_the_paths_mtu() {
        let gre = |source, endpoint| outer(source, endpoint).gre(0x0800).payload(&inner(1400));
        let (v4, v6) = ("192.0.2.1", "2001:db8:1::1");
        let rows = [
            ("ipip", told(1400, &ipip4(1400), 200), "198.18.0.1", 1400),
            ("a quote as RFC 792 demands it", told(1400, &ipip4(1400), 28), "198.18.0.1", 1400),
            ("gre", told(1400, &gre(v4, "198.18.0.2"), 200), "198.18.0.2", 1400),
            ("gre, short", told(1400, &gre(v4, "198.18.0.2"), 28), "198.18.0.2", 1400),
            ("gue", told(1400, &gue(v4, "198.18.0.3", 0xc123), 200), "198.18.0.3", 1400),
            ("gue, short", told(1400, &gue(v4, "198.18.0.3", 0xffff), 28), "198.18.0.3", 1400),
            ("ipip, IPv6", told(1400, &ipip6(), 1200), "2001:db8:2::1", 1400),
            ("gre, IPv6", told(1300, &gre(v6, "2001:db8:2::2"), 1200), "2001:db8:2::2", 1300),
            ("gue, IPv6", told(1280, &gue(v6, "2001:db8:2::3", 0xc123), 48), "2001:db8:2::3", 1280),
            ("a router that does not say", told(0, &ipip4(1480), 200), "198.18.0.1", 1492),
            ("and again", told(0, &ipip4(1400), 200), "198.18.0.1", 1006),
            ("less than any path", told(68, &ipip4(1400), 200), "198.18.0.1", 576),
        ];
        for (claim, error, endpoint, mtu) in rows {
            let mut state = state("");
            let expected = Some((endpoint.parse().expect("an address"), mtu));
            assert_eq!(learn(&mut state, &error, 5), expected, "{claim}");
            assert!(state.is_stale(), "{claim}: the next snapshot has it");
            assert_eq!(state.path_mtus().counts(), TunnelErrorCounts { learnt: 1, ..Default::default() });
        }
    }

    #[test]
    fn what_no_packet_of_the_appliance_can_have_caused_teaches_nothing() {
        let other = |quoted: &Packet| told(1400, quoted, 200);
        let padded = [inner(1380), vec![0; 20]].concat();
        let forged_len = outer("192.0.2.1", "198.18.0.1").protocol(4).payload(&padded);
        let checksum = told(1400, &ipip4(1400), 200).patch(14 + 20 + 2, &[0x5a, 0xa5]);
        let elsewhere = Packet::between("192.0.2.254", "192.0.2.77").packet_too_big(1400, &ipip4(1400), 200);
        let may_fragment = Packet::between("192.0.2.1", "198.18.0.1").protocol(4).payload(&inner(1400));
        let rows = [
            ("another source", other(&outer("192.0.2.9", "198.18.0.1").protocol(4).payload(&inner(1400)))),
            (
                "an endpoint that is none",
                other(&outer("192.0.2.1", "198.18.0.9").protocol(4).payload(&inner(1400))),
            ),
            (
                "an endpoint without a tunnel",
                other(&outer("192.0.2.1", "198.18.0.4").protocol(4).payload(&inner(1400))),
            ),
            (
                "another tunnel's headers",
                other(&outer("192.0.2.1", "198.18.0.1").gre(0x0800).payload(&inner(1400))),
            ),
            ("no tunnel at all", other(&outer("192.0.2.1", "198.18.0.1").tcp(1, 2, 0).payload_len(1400))),
            ("GRE of no IP", other(&outer("192.0.2.1", "198.18.0.2").gre(0x6558).payload(&inner(1400)))),
            ("a port that tunnels do not leave from", other(&gue("192.0.2.1", "198.18.0.3", 1024))),
            ("a packet inside of another length", other(&forged_len)),
            ("a packet that routers may fragment", other(&may_fragment)),
            ("longer than what is sent", told(1400, &ipip4(1481), 200)),
            ("a packet that fits", told(1420, &ipip4(1400), 200)),
            ("a packet that fits even the smallest path", told(500, &ipip4(556), 200)),
            ("less than every path of IPv6", told(1279, &ipip6(), 1200)),
            ("a wrong checksum", checksum),
            ("a quote cut in the outer header", told(1400, &ipip4(1400), 20)),
            ("for another address than the quote is from", elsewhere),
            (
                "another error",
                Packet::between("192.0.2.254", "192.0.2.1").icmp(12, 0, 0).quoting(&ipip4(1400), 200),
            ),
        ];
        for (claim, error) in rows {
            let mut state = state("");
            assert_eq!(learn(&mut state, &error, 5), None, "{claim}");
            assert_eq!(state.path_mtus().counts().learnt, 0, "{claim}");
        }
    }

    #[test]
    fn an_mtu_is_lowered_once_a_second() {
        let mut state = state("");
        assert!(learn(&mut state, &told(1400, &ipip4(1480), 28), 10).is_some());
        assert_eq!(learn(&mut state, &told(1399, &ipip4(1480), 28), 10), None);
        assert!(learn(&mut state, &told(1399, &ipip4(1480), 28), 11).is_some());
    }

    #[test]
    fn an_mtu_only_falls_until_it_is_forgotten_after_ten_minutes() {
        let mut state = state("");
        let endpoint = Address::v4([198, 18, 0, 1]);
        let mtu = |state: &ForwardingState| {
            state.path_mtus().learnt(NetworkId::FIRST, endpoint).map(|learnt| learnt.mtu)
        };
        assert!(learn(&mut state, &told(1400, &ipip4(1480), 28), 10).is_some());
        for (told_mtu, mtu_then) in [(1450, 1400), (1400, 1400), (1350, 1350)] {
            learn(&mut state, &told(told_mtu, &ipip4(1480), 28), 20);
            assert_eq!(mtu(&state), Some(mtu_then), "{told_mtu}");
        }
        state.expire_path_mtus(Duration::from_secs(619));
        assert_eq!(mtu(&state), Some(1350));
        state.expire_path_mtus(Duration::from_secs(620));
        assert_eq!(mtu(&state), None);
        assert!(learn(&mut state, &told(1450, &ipip4(1480), 28), 621).is_some());
    }

    #[test]
    fn a_flood_of_errors_is_looked_at_a_hundred_times_a_second() {
        let mut state = state("");
        let forged = told(1400, &outer("192.0.2.1", "198.18.0.9").protocol(4).payload(&inner(1400)), 200);
        for _ in 0..ERRORS_PER_SEC {
            learn(&mut state, &forged, 5);
        }
        assert_eq!(learn(&mut state, &told(1400, &ipip4(1400), 28), 5), None);
        assert!(learn(&mut state, &told(1400, &ipip4(1400), 28), 6).is_some());
        assert_eq!(state.path_mtus().counts().ignored, u64::from(ERRORS_PER_SEC) + 1);
    }

    #[test]
    fn a_tunnel_from_a_source_prefix_is_known_by_it() {
        let mut state = state("tunnel_source_ranges = [\"198.19.0.0/20\"]");
        let from = |source| {
            let quoted = outer(source, "198.18.0.1").protocol(4).payload(&inner(1400));
            Packet::between("192.0.2.254", source).packet_too_big(1400, &quoted, 200)
        };
        assert_eq!(learn(&mut state, &from("192.0.2.1"), 5), None);
        assert_eq!(learn(&mut state, &from("198.19.16.1"), 5), None);
        assert!(learn(&mut state, &from("198.19.15.1"), 5).is_some());
    }

    #[test]
    fn deliveries_of_tunnels_alone_follow_what_was_learnt() {
        let mut state = state("");
        let inner_mtus = |state: &mut ForwardingState| {
            let snapshot = state.snapshot(&crate::egress_lookup::StandInMacs);
            let backends = snapshot.backends.iter();
            let mut mtus: Vec<_> = backends.map(|backend| backend.delivery.inner_mtu()).collect();
            mtus.sort_unstable();
            mtus
        };
        assert_eq!(inner_mtus(&mut state), [1448, 1456, 1460, 1468, 1476, 1480, 1500]);
        learn(&mut state, &told(1400, &ipip4(1400), 28), 5);
        assert_eq!(inner_mtus(&mut state), [1380, 1448, 1456, 1460, 1468, 1476, 1500]);
        state.expire_path_mtus(Duration::from_secs(605));
        assert!(state.is_stale());
        assert_eq!(inner_mtus(&mut state), [1448, 1456, 1460, 1468, 1476, 1480, 1500]);
    }

    #[test]
    fn an_endpoint_without_a_tunnel_device_is_remembered_with_who_told_of_it() {
        let mut state = state("");
        let error = Packet::between("198.18.0.1", "192.0.2.1").icmp(3, 2, 0).quoting(&ipip4(100), 28);
        assert_eq!(learn(&mut state, &error, 5), None);
        let endpoint = Address::v4([198, 18, 0, 1]);
        let since = |seconds| {
            state.path_mtus().unreachable_since(NetworkId::FIRST, endpoint, Duration::from_secs(seconds))
        };
        let words = since(5).expect("it was told").to_string();
        assert_eq!(words, "ICMP protocol unreachable from 198.18.0.1: no tunnel device?");
        assert_eq!(since(6), None);
        assert_eq!(state.path_mtus().counts().unreachable, 1);
    }
}
