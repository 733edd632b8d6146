//! Backends that turn unhealthy: which connections stay, which move, and that none comes back by itself.

use super::{client, everything, web};
use crate::fixture::{Fixture, hit, new};
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        tcp_default(),
        udp_default(),
        session_default(),
        never(),
        always(),
        void_after_recovery(),
        last_resort(),
        nobody_to_move_to(),
    ]
}

fn tcp_default() -> Fixture {
    let flow = |port, flags| client(7).tcp(port, 443, flags);
    Fixture::new(
        "health/tcp-connections-persist-by-default",
        "DEFAULT_FOR_PROTOCOL: TCP connections stay on a backend that turned unhealthy; new ones avoid it.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&flow(40_000, SYN), new("web", "b1"))
    .wait(1000)
    .healthy("b2")
    .unhealthy("b1")
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b2"))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
}

fn udp_default() -> Fixture {
    let datagram = client(7).udp(40_000, 53);
    Fixture::new(
        "health/udp-moves-by-default",
        "DEFAULT_FOR_PROTOCOL: tracked UDP leaves a backend that turned unhealthy, and stays where it went.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    )
    .unhealthy("b2")
    .frame(&datagram, new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&datagram, new("all", "b2"))
    .healthy("b1")
    .frame(&datagram, hit("all", "b2"))
}

fn session_default() -> Fixture {
    let flow = |flags| client(7).tcp(40_000, 443, flags);
    Fixture::new(
        "health/tcp-sessions-move-by-default",
        "DEFAULT_FOR_PROTOCOL: TCP that is tracked by its client's address does not persist.",
        web("session_affinity = 'CLIENT_IP'\nconnection_tracking_policy = { tracking_mode = 'PER_SESSION' }"),
    )
    .unhealthy("b2")
    .frame(&flow(SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&flow(ACK), new("web", "b2"))
    .frame(&flow(ACK), hit("web", "b2"))
}

fn never() -> Fixture {
    let flow = |flags| client(7).tcp(40_000, 443, flags);
    Fixture::new(
        "health/never-persist-moves-every-connection",
        "NEVER_PERSIST: TCP too leaves a backend that turned unhealthy; the new entry is an ordinary one.",
        web(
            "connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'NEVER_PERSIST' }",
        ),
    )
    .unhealthy("b2")
    .frame(&flow(SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&flow(ACK), new("web", "b2"))
    .healthy("b1")
    .frame(&flow(ACK), hit("web", "b2"))
    .unhealthy("b2")
    .frame(&flow(ACK), new("web", "b1"))
}

fn always() -> Fixture {
    let datagram = |port| client(7).udp(port, 53);
    Fixture::new(
        "health/always-persist-keeps-udp",
        "ALWAYS_PERSIST: tracked UDP stays on a backend that turned unhealthy.",
        everything(
            "protocol = 'UNSPECIFIED'\n\
             session_affinity = 'CLIENT_IP'\n\
             connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'ALWAYS_PERSIST' \
             }",
        ),
    )
    .unhealthy("b2")
    .frame(&datagram(40_000), new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&datagram(40_000), hit("all", "b1"))
    .frame(&datagram(40_001), new("all", "b2"))
}

fn void_after_recovery() -> Fixture {
    let flow = |port, flags| client(7).tcp(port, 443, flags);
    Fixture::new(
        "health/entry-stays-void-after-recovery",
        "An entry that a health loss voided stays void when the backend recovers: its next packet is \
         selected anew.",
        web("connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'NEVER_PERSIST' \
            }"),
    )
    .unhealthy("b2")
    .frame(&flow(40_000, SYN), new("web", "b1"))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b1"))
    .wait(1000)
    .healthy("b2")
    .unhealthy("b1")
    .wait(1000)
    .healthy("b1")
    .unhealthy("b2")
    .frame(&flow(40_000, ACK), new("web", "b1"))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&flow(40_001, ACK), new("web", "b2"))
}

fn last_resort() -> Fixture {
    let flow = |port, flags| client(7).tcp(port, 443, flags);
    Fixture::new(
        "health/unhealthy-backends-are-the-last-resort",
        "When no backend is healthy all of them are eligible, and entries that are made then hold.",
        web(
            "connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'NEVER_PERSIST' }",
        ),
    )
    .unhealthy("b1")
    .unhealthy("b2")
    .frame(&flow(40_000, SYN), new("web", "b2"))
    .frame(&flow(40_001, SYN), new("web", "b1"))
    .frame(&flow(40_002, SYN), new("web", "b1"))
    .frame(&flow(40_003, SYN), new("web", "b2"))
    .frame(&flow(40_000, ACK), hit("web", "b2"))
    .frame(&flow(40_001, ACK), hit("web", "b1"))
    .frame(&flow(40_002, ACK), hit("web", "b1"))
    .frame(&flow(40_003, ACK), hit("web", "b2"))
}

fn nobody_to_move_to() -> Fixture {
    let datagram = client(7).udp(40_000, 53);
    Fixture::new(
        "health/nothing-moves-while-nobody-is-healthy",
        "NEVER_PERSIST: a connection stays where it is while no backend is healthy, and moves with the first that is.",
        everything(
            "protocol = 'UNSPECIFIED'\n\
             session_affinity = 'CLIENT_IP'\n\
             connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'NEVER_PERSIST' }",
        ),
    )
    .unhealthy("b2")
    .frame(&datagram, new("all", "b1"))
    .wait(1000)
    .unhealthy("b1")
    .frame(&datagram, hit("all", "b1"))
    .wait(1000)
    .healthy("b2")
    .frame(&datagram, new("all", "b2"))
    .frame(&datagram, hit("all", "b2"))
}
