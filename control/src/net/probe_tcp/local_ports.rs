//! Which local port belongs to which connection, and which must rest.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use guideway_dataplane::backend::BackendHandle;

use super::connection::ConnectionId;

/// How long a local port is not used again to the same VIP and port: as long as Linux keeps a connection that
/// was closed (`TCP_TIMEWAIT_LEN`), twice the time that its packets may still be under way.
pub const REST: Duration = Duration::from_secs(60);

/// How many local ports may rest: with [`REST`], room for 4,369 connections a second.
///
/// To one VIP and port there is room for 1,075 connections a second: every port from 1,024 on.
pub const MAX_RESTING: usize = 1 << 18;

const PORTS: RangeInclusive<u16> = 1_024..=u16::MAX;

/// How many local ports there are to one VIP and port.
pub const LOCAL_PORTS: usize = (*PORTS.end() - *PORTS.start()) as usize + 1;

/// The address and port that connections go to.
pub(super) type Destination = (IpAddr, u16);

/// Whose a local port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenant {
    /// An open connection's.
    Connection(ConnectionId),
    /// It was that of a connection to this backend, which is over.
    TimeWait(BackendHandle),
}

/// The local ports to every destination.
#[derive(Debug)]
pub(super) struct LocalPorts {
    /// Destinations with a tenant.
    ports: HashMap<Destination, Ports>,
    /// The longest rest first.
    resting: VecDeque<(Duration, Destination, u16)>,
    random: u64,
}

#[derive(Debug)]
struct Ports {
    /// Where to look for a free port first. They are taken in turn, so that each rests for as long as it can.
    next: u16,
    tenants: HashMap<u16, Tenant>,
}

impl LocalPorts {
    /// Every port is free.
    pub(super) fn new(seed: u64) -> Self {
        Self { ports: HashMap::new(), resting: VecDeque::new(), random: seed }
    }

    /// Takes a port for a connection to `destination`; `None` where there is none.
    pub(super) fn take(&mut self, destination: Destination, id: ConnectionId, now: Duration) -> Option<u16> {
        self.end_rests(now);
        if self.resting.len() >= MAX_RESTING {
            return None;
        }
        let random = &mut self.random;
        let ports = self.ports.entry(destination).or_insert_with(|| {
            let start = PORTS.start() + (next_random(random) % LOCAL_PORTS as u64) as u16;
            Ports { next: start, tenants: HashMap::new() }
        });
        if ports.tenants.len() >= LOCAL_PORTS {
            return None;
        }
        for _ in 0..LOCAL_PORTS {
            let port = ports.next;
            ports.next = if port == *PORTS.end() { *PORTS.start() } else { port + 1 };
            if let Entry::Vacant(place) = ports.tenants.entry(port) {
                place.insert(Tenant::Connection(id));
                return Some(port);
            }
        }
        None
    }

    /// Lets a port rest whose connection to `backend` is over.
    pub(super) fn release(
        &mut self,
        destination: Destination,
        port: u16,
        backend: BackendHandle,
        now: Duration,
    ) {
        if let Some(ports) = self.ports.get_mut(&destination) {
            ports.tenants.insert(port, Tenant::TimeWait(backend));
            self.resting.push_back((now + REST, destination, port));
        }
    }

    /// Whose a port is.
    pub(super) fn tenant(&self, destination: Destination, port: u16) -> Option<Tenant> {
        self.ports.get(&destination)?.tenants.get(&port).copied()
    }

    fn end_rests(&mut self, now: Duration) {
        while let Some((until, destination, port)) = self.resting.front().copied()
            && until <= now
        {
            self.resting.pop_front();
            if let Some(ports) = self.ports.get_mut(&destination) {
                ports.tenants.remove(&port);
                if ports.tenants.is_empty() {
                    self.ports.remove(&destination);
                }
            }
        }
    }
}

/// SplitMix64: where to begin is to differ, not to be a secret.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKEND: BackendHandle = BackendHandle(3);

    fn destination(port: u16) -> Destination {
        ("203.0.113.10".parse().unwrap(), port)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_port_rests_before_it_is_used_again() {
        let mut ports = LocalPorts::new(1);
        let id = ConnectionId(0);
        for second in 0..2 {
            for _ in 0..LOCAL_PORTS / 2 {
                let port = ports.take(destination(80), id, secs(second)).unwrap();
                assert_eq!(ports.tenant(destination(80), port), Some(Tenant::Connection(id)));
                ports.release(destination(80), port, BACKEND, secs(second));
                assert_eq!(ports.tenant(destination(80), port), Some(Tenant::TimeWait(BACKEND)));
            }
        }
        assert_eq!(ports.take(destination(80), id, secs(59)), None, "all ports rest");
        assert!(ports.take(destination(81), id, secs(59)).is_some(), "to another port none does");
        for _ in 0..LOCAL_PORTS / 2 {
            ports.take(destination(80), id, secs(60)).expect("half of them have rested");
        }
        assert_eq!(ports.take(destination(80), id, secs(60)), None);
        assert!(ports.take(destination(80), id, secs(61)).is_some());
    }

    #[test]
    fn ports_are_taken_in_turn_though_earlier_ones_have_rested() {
        let mut ports = LocalPorts::new(1);
        let mut used = std::collections::HashSet::new();
        // One stays in use: what is known of a destination without tenants is forgotten.
        let kept = ports.take(destination(80), ConnectionId(0), secs(0)).unwrap();
        for round in 0..LOCAL_PORTS as u64 - 1 {
            let now = secs(100 * round);
            let port = ports.take(destination(80), ConnectionId(1), now).unwrap();
            assert!(port != kept && used.insert(port), "port {port} a second time, in round {round}");
            ports.release(destination(80), port, BACKEND, now);
        }
    }

    #[test]
    fn ports_in_use_are_left_alone() {
        let mut ports = LocalPorts::new(1);
        let mut used = std::collections::HashSet::new();
        for id in 0..LOCAL_PORTS as u64 {
            let port = ports.take(destination(80), ConnectionId(id), secs(id)).unwrap();
            assert!(PORTS.contains(&port) && used.insert(port));
        }
        assert_eq!(ports.take(destination(80), ConnectionId(0), secs(1 << 20)), None);
    }

    #[test]
    fn what_rests_is_bounded_and_forgotten_in_the_end() {
        let mut ports = LocalPorts::new(1);
        for number in 0..MAX_RESTING {
            let to = destination(1 + (number % 10) as u16);
            let port = ports.take(to, ConnectionId(0), secs(0)).unwrap();
            ports.release(to, port, BACKEND, secs(0));
        }
        assert_eq!(ports.take(destination(99), ConnectionId(0), secs(1)), None);
        let port = ports.take(destination(99), ConnectionId(0), secs(60)).unwrap();
        assert_eq!((ports.resting.len(), ports.ports.len()), (0, 1));
        ports.release(destination(99), port, BACKEND, secs(60));
        ports.end_rests(secs(120));
        assert!(ports.ports.is_empty());
    }

    #[test]
    fn the_first_port_depends_on_the_seed_and_the_destination() {
        let first = |seed, port| LocalPorts::new(seed).take(destination(port), ConnectionId(0), secs(0));
        assert_ne!(first(1, 80), first(2, 80));
        let mut ports = LocalPorts::new(1);
        assert_ne!(
            ports.take(destination(80), ConnectionId(0), secs(0)),
            ports.take(destination(81), ConnectionId(1), secs(0)).map(|port| port.wrapping_sub(1))
        );
    }
}
