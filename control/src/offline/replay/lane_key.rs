//! The choice of the worker that decides a frame of a replay.
//!
//! Whatever may meet must go to one worker, in order: packets that may share a conntrack entry, both directions of what
//! is routed among them, and the fragments of a datagram, which may belong to different rules. So the choice is by
//! addresses, and never by rule or port:
//!
//! | configurations | entries are named by | a worker is picked by |
//! | --- | --- | --- |
//! | without routes | at least the client's address | the client's address |
//! | with routes | both addresses, in either order | both addresses, in either order |
//! | with routes, and a service that tracks clients by their address alone | either | nothing: one worker decides all |

use guideway_dataplane::affinity::{SessionAffinity, TrackingMode};
use guideway_dataplane::flow::Flow;
use guideway_dataplane::icmp_error;
use guideway_dataplane::packet::Packet;
use guideway_model::config::Config;

/// Addresses of a frame that pick its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKey {
    /// Client's address.
    Client,
    /// Both addresses, in either order.
    Ends,
    /// None: one worker decides all frames.
    Nothing,
}

impl LaneKey {
    /// Key for all configurations that a replay will have.
    pub(super) fn new<'c>(configs: impl IntoIterator<Item = &'c Config>) -> Self {
        let (mut has_routes, mut has_one_tuples) = (false, false);
        for config in configs {
            has_routes |= !config.routes.is_empty();
            has_one_tuples |= config.services.iter().any(|service| {
                service.affinity == SessionAffinity::ClientIpNoDestination
                    && service.tracking_mode == TrackingMode::PerSession
            });
        }
        match (has_routes, has_one_tuples) {
            (false, _) => Self::Client,
            (true, false) => Self::Ends,
            (true, true) => Self::Nothing,
        }
    }

    /// Index of the worker, of `count`, that decides a frame.
    pub(super) fn lane(self, frame: &[u8], count: usize) -> usize {
        if count == 1 || self == Self::Nothing {
            return 0;
        }
        let Ok(packet) = Packet::parse(frame) else { return 0 };
        let flow = quoted_or_own(frame, &packet);
        let key = if self == Self::Client { flow.src.0 } else { flow.src.0.wrapping_add(flow.dst.0) };
        (key % count as u128) as usize
    }
}

/// Flow that picks the worker: an ICMP error belongs to the client of the packet that it quotes.
fn quoted_or_own(frame: &[u8], packet: &Packet) -> Flow {
    let quoted = packet.icmp_error.then(|| icmp_error::quoted_flow(frame, packet)).flatten();
    quoted.unwrap_or(packet.flow)
}

#[cfg(test)]
mod tests {
    use guideway_model::sample::sample;
    use pcap_fixtures::packet::Packet as Built;

    use super::*;

    fn config(service: &str, routes: &str) -> Config {
        let rest = format!("[[backend_group]]\nname = \"group\"\nendpoints = []\n{routes}");
        sample("", &format!("backends = [{{ group = \"group\" }}]\n{service}"), &rest)
    }

    #[test]
    fn two_ends_share_a_worker_whichever_sends_and_in_however_many_parts() {
        let (a, b) = ("192.0.2.7", "198.51.100.9");
        let there = Built::between(a, b).udp(4000, 53).payload_len(3000);
        let back = Built::between(b, a).udp(53, 4000).payload_len(3000);
        let error = Built::between("203.0.113.1", a).packet_too_big(1400, &there, 28);
        let mut frames: Vec<Vec<u8>> = vec![there.build(), back.build(), error.build()];
        frames.extend(there.fragments(1480).iter().chain(&back.fragments(1480)).map(Built::build));
        for count in 1..7 {
            let lanes: Vec<usize> = frames.iter().map(|frame| LaneKey::Ends.lane(frame, count)).collect();
            assert!(lanes.iter().all(|lane| *lane == lanes[0] && *lane < count), "{lanes:?} of {count}");
        }
    }

    #[test]
    fn a_reload_that_brings_routes_counts_from_the_start() {
        let plain = config("", "");
        assert_eq!(LaneKey::new([&plain]), LaneKey::Client);
    }
}
