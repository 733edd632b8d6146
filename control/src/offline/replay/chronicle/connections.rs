//! Connections over the events of a replay: which went on where they were, which were moved, which were disturbed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use guideway_dataplane::flow::Flow;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::wire::protocol;

use super::BackendName;
use super::sample::{MOST_SAMPLED, Sample};

/// Connections that had packets before an event and after it, by where the first packet after it went.
///
/// A connection that was silent over several events counts at the last of them. One that begins anew, with a SYN, is
/// another connection. One that was silent for longer than its entry lasts, and is chosen anew, was moved by no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Connections that stayed where they were.
    pub kept: u64,
    /// Connections that went on at another backend.
    pub moved: u64,
    /// Connections of TCP among those moved: the other backend knows nothing of them.
    pub moved_tcp: u64,
    /// Connections whose packet was dropped for want of a backend.
    pub cut: u64,
}

impl Crossings {
    /// Connections that went on, or were to.
    pub fn all(&self) -> u64 {
        self.kept + self.moved + self.cut
    }

    /// Connections that will have failed: moved in the middle of TCP, or cut.
    pub fn disturbed(&self) -> u64 {
        self.moved_tcp + self.cut
    }

    pub(super) fn add(&mut self, crossed: &Crossed) {
        let Crossed { outcome, is_tcp, count, .. } = *crossed;
        match outcome {
            Outcome::Kept => self.kept += count,
            Outcome::Cut => self.cut += count,
            Outcome::Moved => {
                self.moved += count;
                self.moved_tcp += if is_tcp { count } else { 0 };
            }
        }
    }
}

/// End of a packet of a connection.
pub(super) enum End<'a> {
    Backend(&'a Arc<str>, &'a Arc<str>),
    Dropped,
}

/// Packet of a connection.
pub(super) struct Packet<'a> {
    pub(super) flow: &'a Flow,
    pub(super) network: Option<NetworkId>,
    /// True if it begins its connection.
    pub(super) opens: bool,
    pub(super) end: End<'a>,
    /// Seconds on the replay's clock.
    pub(super) second: u32,
    /// Seconds that an entry of its service lasts without a packet.
    pub(super) idle_timeout_sec: u32,
}

/// Connection that has gone on.
pub(super) struct Crossed {
    outcome: Outcome,
    is_tcp: bool,
    /// True if an event lay between two packets, and the entry had not timed out.
    pub(super) is_by_event: bool,
    /// Connections that it stands for.
    count: u64,
}

impl Crossed {
    pub(super) fn of_moved(&self) -> u64 {
        if self.outcome == Outcome::Moved { self.count } else { 0 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Kept,
    Moved,
    Cut,
}

/// Connections by the hash of their flow.
#[derive(Debug)]
pub(super) struct Connections {
    backends: HashMap<BackendName, u32>,
    known: Sample<Known>,
}

/// Last packet of a connection.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Number of the backend that it went to.
    backend: u32,
    /// Number of the events before it.
    events: u32,
    second: u32,
}

impl Default for Connections {
    fn default() -> Self {
        Self { backends: HashMap::new(), known: Sample::with_room(MOST_SAMPLED) }
    }
}

impl Connections {
    pub(super) fn per_sample(&self) -> u64 {
        self.known.per_key()
    }

    /// Takes in a packet that came after so many events; returns where its connection went on, unless it is new or nothing
    /// has happened.
    pub(super) fn see(&mut self, packet: &Packet<'_>, events: usize) -> Option<Crossed> {
        let Flow { src, dst, src_port, dst_port, protocol, .. } = packet.flow.in_order();
        let mut hasher = DefaultHasher::new();
        let network = packet.network.map(|network| network.0);
        (network, src, dst, src_port, dst_port, protocol).hash(&mut hasher);
        let key = hasher.finish();
        let backend = match packet.end {
            End::Backend(service, backend) => Some(self.number(service, backend)),
            End::Dropped => None,
        };
        let (events, second) = (events as u32, packet.second);
        let count = self.known.per_key();
        let Some(known) = self.known.find(key) else {
            if let Some(backend) = backend {
                self.known.insert(key, Known { backend, events, second });
            }
            return None;
        };
        let before = *known;
        *known = Known { backend: backend.unwrap_or(before.backend), events, second };
        let outcome = match backend {
            _ if packet.opens => return None,
            None => Outcome::Cut,
            Some(backend) if backend == before.backend => Outcome::Kept,
            Some(_) => Outcome::Moved,
        };
        let has_timed_out = second.saturating_sub(before.second) > packet.idle_timeout_sec;
        let is_by_event = before.events != events && !(has_timed_out && outcome == Outcome::Moved);
        let has_happened = is_by_event || outcome == Outcome::Moved;
        has_happened.then_some(Crossed { outcome, is_tcp: protocol == protocol::TCP, is_by_event, count })
    }

    fn number(&mut self, service: &Arc<str>, backend: &Arc<str>) -> u32 {
        let next = self.backends.len() as u32;
        *self.backends.entry((Arc::clone(service), Arc::clone(backend))).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::address::Address;
    use guideway_dataplane::flow::Fragment;

    use super::*;

    struct Seen {
        connections: Connections,
        crossings: Vec<Crossings>,
        elsewhere: u64,
        second: u32,
    }

    impl Seen {
        fn packet(&mut self, (port, protocol): (u16, u8), opens: bool, to: Option<&str>, events: usize) {
            let (src, dst) = (Address::v4([192, 0, 2, 7]), Address::v4([203, 0, 113, 10]));
            let flow = &Flow { src, dst, src_port: port, dst_port: 443, protocol, fragment: Fragment::No };
            let names = to.map(|name| (Arc::from("web"), Arc::from(name)));
            let end =
                names.as_ref().map_or(End::Dropped, |(service, backend)| End::Backend(service, backend));
            let packet =
                Packet { flow, network: None, opens, end, second: self.second, idle_timeout_sec: 60 };
            let Some(crossed) = self.connections.see(&packet, events) else { return };
            if crossed.is_by_event {
                self.crossings[events].add(&crossed);
            } else {
                self.elsewhere += crossed.of_moved();
            }
        }
    }

    #[test]
    fn connections_count_once_at_the_event_before_their_next_packet() {
        let (connections, crossings) = (Connections::default(), vec![Crossings::default(); 4]);
        let mut seen = Seen { connections, crossings, elsewhere: 0, second: 0 };
        let [kept, moved, cut, reopened, silent, late] = [1, 2, 3, 4, 5, 6].map(|port| (port, 6));
        let udp = (7, 17);
        for flow in [kept, moved, cut, reopened, silent, late, udp] {
            seen.packet(flow, flow.1 == 6, Some("web-1"), 0);
        }
        seen.second = 60;
        for _ in 0..2 {
            seen.packet(kept, false, Some("web-1"), 1);
            seen.packet(moved, false, Some("web-2"), 1);
            seen.packet(udp, false, Some("web-2"), 1);
            seen.packet(cut, false, None, 1);
        }
        seen.packet(reopened, true, Some("web-2"), 1);
        assert_eq!(seen.crossings[1], Crossings { kept: 1, moved: 2, moved_tcp: 1, cut: 1 });
        assert_eq!((seen.crossings[1].all(), seen.crossings[1].disturbed()), (4, 2));
        seen.packet(silent, false, Some("web-2"), 3);
        assert_eq!(seen.crossings[2], Crossings::default());
        assert_eq!(seen.crossings[3], Crossings { moved: 1, moved_tcp: 1, ..Crossings::default() });
        seen.packet(silent, false, Some("web-1"), 3);
        assert_eq!(seen.elsewhere, 1);
        seen.second = 61;
        seen.packet(late, false, Some("web-2"), 3);
        assert_eq!((seen.elsewhere, seen.crossings[3].all()), (2, 1), "its entry had timed out");
    }
}
