//! The local ports of connections, each in use or in TIME-WAIT.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use guideway_dataplane::backend::BackendHandle;

use super::connection::ConnectionId;

/// Time for which a local port is not used again to the same VIP and port: as long as Linux keeps a connection that
/// was closed (`TCP_TIMEWAIT_LEN`), twice the time that its packets may still be under way.
pub const TIME_WAIT: Duration = Duration::from_secs(60);

/// The most local ports that may be in TIME-WAIT: with [`TIME_WAIT`], room for 4,369 connections a second.
///
/// To one VIP and port there is room for 1,075 connections a second: every port from 1,024 on.
pub const MAX_TIME_WAIT: usize = 1 << 18;

const PORTS: RangeInclusive<u16> = 1_024..=u16::MAX;

/// The number of local ports to one VIP and port.
pub const LOCAL_PORTS: usize = (*PORTS.end() - *PORTS.start()) as usize + 1;

/// The address and port that connections go to.
pub(super) type Destination = (IpAddr, u16);

/// The connection that a local port belongs to, or belonged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortUser {
    /// An open connection.
    Connection(ConnectionId),
    /// A connection to this backend that is over: the port is in TIME-WAIT.
    TimeWait(BackendHandle),
}

/// The local ports to every destination.
#[derive(Debug)]
pub(super) struct LocalPorts {
    /// The destinations to which a port is in use or in TIME-WAIT.
    ports: HashMap<Destination, Ports>,
    /// The ports in TIME-WAIT with its end, the earliest first.
    time_wait: VecDeque<(Duration, Destination, u16)>,
    /// Chooses where to begin: that is to differ, not to be a secret.
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Ports {
    /// The port to try first. Ports are taken in turn, so that each is left alone for as long as it can be.
    next: u16,
    users: HashMap<u16, PortUser>,
}

impl LocalPorts {
    /// Ports that are all free.
    pub(super) fn new(seed: u64) -> Self {
        Self { ports: HashMap::new(), time_wait: VecDeque::new(), random: fastrand::Rng::with_seed(seed) }
    }

    /// Takes a port for a connection to `destination`; `None` where none is free.
    pub(super) fn take(&mut self, destination: Destination, id: ConnectionId, now: Duration) -> Option<u16> {
        self.end_time_wait(now);
        if self.time_wait.len() >= MAX_TIME_WAIT {
            return None;
        }
        let random = &mut self.random;
        let ports = self
            .ports
            .entry(destination)
            .or_insert_with(|| Ports { next: random.u16(PORTS), users: HashMap::new() });
        if ports.users.len() >= LOCAL_PORTS {
            return None;
        }
        for _ in 0..LOCAL_PORTS {
            let port = ports.next;
            ports.next = if port == *PORTS.end() { *PORTS.start() } else { port + 1 };
            if let Entry::Vacant(free) = ports.users.entry(port) {
                free.insert(PortUser::Connection(id));
                return Some(port);
            }
        }
        None
    }

    /// Puts a port in TIME-WAIT, as its connection to `backend` is over.
    pub(super) fn release(
        &mut self,
        destination: Destination,
        port: u16,
        backend: BackendHandle,
        now: Duration,
    ) {
        if let Some(ports) = self.ports.get_mut(&destination) {
            ports.users.insert(port, PortUser::TimeWait(backend));
            self.time_wait.push_back((now + TIME_WAIT, destination, port));
        }
    }

    /// The connection that a port belongs to, or belonged to; `None` where the port is free.
    pub(super) fn user(&self, destination: Destination, port: u16) -> Option<PortUser> {
        self.ports.get(&destination)?.users.get(&port).copied()
    }

    /// Frees the ports whose TIME-WAIT is over at `now`.
    fn end_time_wait(&mut self, now: Duration) {
        while let Some((until, destination, port)) = self.time_wait.front().copied()
            && until <= now
        {
            self.time_wait.pop_front();
            if let Some(ports) = self.ports.get_mut(&destination) {
                ports.users.remove(&port);
                if ports.users.is_empty() {
                    self.ports.remove(&destination);
                }
            }
        }
    }
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
    fn a_port_waits_before_it_is_used_again() {
        let mut ports = LocalPorts::new(1);
        let id = ConnectionId(0);
        for second in 0..2 {
            for _ in 0..LOCAL_PORTS / 2 {
                let port = ports.take(destination(80), id, secs(second)).unwrap();
                assert_eq!(ports.user(destination(80), port), Some(PortUser::Connection(id)));
                ports.release(destination(80), port, BACKEND, secs(second));
                assert_eq!(ports.user(destination(80), port), Some(PortUser::TimeWait(BACKEND)));
            }
        }
        assert_eq!(ports.take(destination(80), id, secs(59)), None, "all ports wait");
        assert!(ports.take(destination(81), id, secs(59)).is_some(), "to another port none does");
        for _ in 0..LOCAL_PORTS / 2 {
            ports.take(destination(80), id, secs(60)).expect("half of them have waited");
        }
        assert_eq!(ports.take(destination(80), id, secs(60)), None);
        assert!(ports.take(destination(80), id, secs(61)).is_some());
    }

    #[test]
    fn ports_are_taken_in_turn_though_earlier_ones_are_free_again() {
        let mut ports = LocalPorts::new(1);
        let mut used = std::collections::HashSet::new();
        // One stays in use: a destination without ports in use is forgotten.
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
    fn ports_in_time_wait_are_bounded_and_free_in_the_end() {
        let mut ports = LocalPorts::new(1);
        for number in 0..MAX_TIME_WAIT {
            let to = destination(1 + (number % 10) as u16);
            let port = ports.take(to, ConnectionId(0), secs(0)).unwrap();
            ports.release(to, port, BACKEND, secs(0));
        }
        assert_eq!(ports.take(destination(99), ConnectionId(0), secs(1)), None);
        let port = ports.take(destination(99), ConnectionId(0), secs(60)).unwrap();
        assert_eq!((ports.time_wait.len(), ports.ports.len()), (0, 1));
        ports.release(destination(99), port, BACKEND, secs(60));
        ports.end_time_wait(secs(120));
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
