//! Connection tracking: which packets start an entry, which follow one, and when it ends.
//!
//! To force a choice, these fixtures start with one healthy backend, and the other takes its place later.

use super::{client, everything, everything_internal, web};
use crate::fixture::{Fixture, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, FIN, PSH, RST, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        syn(),
        mid_flow(),
        first_seen_mid_flow(),
        fin_and_rst(),
        idle_external(),
        idle_internal(),
        idle_configured(),
        gap_of_days(),
        udp_untracked(),
        udp_tracked(),
        udp_internal(),
        per_session(),
        per_session_ports(),
        no_destination(),
    ]
}

fn syn() -> Fixture {
    let flow = client(7);
    Fixture::new(
        "tracking/syn-starts-a-tracked-flow-anew",
        "A SYN on a tracked flow starts a new connection: its backend is selected again, and what follows \
         goes there.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&flow.clone().tcp(40_000, 443, SYN).seq(1), new("web", "b1"))
    .frame(&flow.clone().tcp(40_000, 443, ACK).seq(2).ack(1), hit("web", "b1"))
    .wait(1000)
    .healthy("b2")
    .unhealthy("b1")
    .frame(&flow.clone().tcp(40_000, 443, ACK).seq(2).ack(1).payload_len(9), hit("web", "b1"))
    .frame(&flow.clone().tcp(40_000, 443, SYN).seq(9_000), new("web", "b2"))
    .frame(&flow.clone().tcp(40_000, 443, ACK).seq(9_001).ack(1), hit("web", "b2"))
    // SYN and FIN together are still a SYN.
    .healthy("b1")
    .unhealthy("b2")
    .frame(&flow.clone().tcp(40_000, 443, SYN | FIN).seq(9_001), new("web", "b1"))
    .frame(&flow.tcp(40_000, 443, SYN | ACK).seq(9_001).ack(7), new("web", "b1"))
}

fn mid_flow() -> Fixture {
    let flow = |index: u16| client(10 + index as u8).tcp(40_000 + index, 80, SYN);
    let data = |index: u16| client(10 + index as u8).tcp(40_000 + index, 80, ACK | PSH).payload_len(100);
    let mut fixture = Fixture::new(
        "tracking/flows-keep-their-backend-when-another-comes-back",
        "Mid-flow packets keep their backend when another comes back, whatever their hash would choose now.",
        web(""),
    )
    .unhealthy("b2");
    for index in 0..6 {
        fixture = fixture.frame(&flow(index), new("web", "b1"));
    }
    fixture = fixture.wait(2000).healthy("b2");
    for index in 0..6 {
        fixture = fixture.frame(&data(index), hit("web", "b1"));
    }
    fixture
}

fn first_seen_mid_flow() -> Fixture {
    let packet = client(7).tcp(40_000, 443, ACK).payload_len(1);
    Fixture::new(
        "tracking/mid-flow-packet-without-an-entry-makes-one",
        "A mid-flow packet without an entry, as after a restart of the appliance, is selected by its hash \
         and makes one.",
        web(""),
    )
    .unhealthy("b1")
    .frame(&packet, new("web", "b2"))
    .healthy("b1")
    .frame(&packet, hit("web", "b2"))
}

fn fin_and_rst() -> Fixture {
    let flow = |flags| client(7).tcp(40_000, 443, flags);
    Fixture::new(
        "tracking/fin-and-rst-change-nothing",
        "FIN and RST leave the entry as it is: late packets of the connection still find its backend.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&flow(SYN), new("web", "b1"))
    .healthy("b2")
    .frame(&flow(FIN | ACK), hit("web", "b1"))
    .frame(&flow(ACK), hit("web", "b1"))
    .frame(&flow(RST), hit("web", "b1"))
    .frame(&flow(ACK), hit("web", "b1"))
}

/// Adds packets of one flow: one at the start, one `before` milliseconds later, and one `after` milliseconds after
/// that.
fn idle(fixture: Fixture, rule: &'static str, [before, after]: [u64; 2]) -> Fixture {
    let flow = |flags| client(7).tcp(40_000, 443, flags);
    fixture
        .unhealthy("b2")
        .frame(&flow(SYN), new(rule, "b1"))
        .healthy("b2")
        .unhealthy("b1")
        .wait(before)
        .frame(&flow(ACK), hit(rule, "b1"))
        .wait(after)
        .frame(&flow(ACK), new(rule, "b2"))
        .frame(&flow(ACK), hit(rule, "b2"))
}

fn idle_external() -> Fixture {
    let fixture = Fixture::new(
        "tracking/external-entry-ends-after-60-idle-seconds",
        "An EXTERNAL entry lives as long as its packets are at most 60 s apart, and not longer.",
        web(""),
    );
    idle(fixture, "web", [58_000, 62_000])
}

fn idle_internal() -> Fixture {
    let fixture = Fixture::new(
        "tracking/internal-entry-ends-after-600-idle-seconds",
        "An INTERNAL entry lives as long as its packets are at most 600 s apart, and not longer.",
        everything_internal("protocol = 'UNSPECIFIED'"),
    );
    idle(fixture, "all", [598_000, 602_000])
}

/// Makes a fixture with a gap of 12.1 days: entries keep their last use in 19 bits of seconds, and then the same
/// number has come again, for the second time.
fn gap_of_days() -> Fixture {
    let flow = |flags| client(7).tcp(40_000, 443, flags);
    Fixture::new(
        "tracking/a-gap-of-days-ends-every-entry",
        "An entry is void after a gap of days too, even one that brings its clock round to where it was.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&flow(SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .wait(((1 << 20) + 10) * 1000)
    .frame(&flow(ACK), new("web", "b2"))
}

fn idle_configured() -> Fixture {
    let flow = |flags| client(7).tcp(40_000, 443, flags);
    Fixture::new(
        "tracking/idle-timeout-can-be-raised-for-sessions",
        "With PER_SESSION and CLIENT_IP, INTERNAL, the idle timeout is what `idle_timeout_sec` says.",
        everything_internal(
            "protocol = 'UNSPECIFIED'\n\
             session_affinity = 'CLIENT_IP'\n\
             connection_tracking_policy = { tracking_mode = 'PER_SESSION', idle_timeout_sec = 1800 }",
        ),
    )
    .unhealthy("b2")
    .frame(&flow(SYN), new("all", "b1"))
    .healthy("b2")
    .wait(1_798_000)
    .frame(&flow(ACK), hit("all", "b1"))
    .unhealthy("b2")
    .wait(1_802_000)
    .frame(&flow(ACK), new("all", "b1"))
}

fn udp_untracked() -> Fixture {
    let datagram = client(7).udp(40_000, 53).payload_len(30);
    Fixture::new(
        "tracking/udp-without-affinity-is-not-tracked",
        "UDP is not tracked under affinity NONE, EXTERNAL: it follows the eligible backends from packet to \
         packet.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&datagram, off("all", "b1"))
    .frame(&datagram, off("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&datagram, off("all", "b2"))
    .healthy("b1")
    .unhealthy("b2")
    .frame(&datagram, off("all", "b1"))
}

fn udp_tracked() -> Fixture {
    let datagram = |src_port| client(7).udp(src_port, 53).payload_len(30);
    Fixture::new(
        "tracking/udp-with-client-ip-is-tracked",
        "UDP is tracked under CLIENT_IP, each 5-tuple by itself where the mode is PER_CONNECTION.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    )
    .unhealthy("b2")
    .frame(&datagram(40_000), new("all", "b1"))
    .healthy("b2")
    .frame(&datagram(40_000), hit("all", "b1"))
    .frame(&datagram(40_001), new("all", "b2"))
    .frame(&datagram(40_002), new("all", "b2"))
    .frame(&datagram(40_000), hit("all", "b1"))
}

fn udp_internal() -> Fixture {
    let datagram = client(7).udp(40_000, 53);
    Fixture::new(
        "tracking/internal-udp-is-always-tracked",
        "INTERNAL, UDP is tracked under affinity NONE too.",
        everything_internal("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&datagram, new("all", "b1"))
    .healthy("b2")
    .frame(&datagram, hit("all", "b1"))
}

fn per_session() -> Fixture {
    Fixture::new(
        "tracking/per-session-keeps-a-clients-packets-together",
        "With PER_SESSION and CLIENT_IP one entry holds all that a client sends to a VIP, and a SYN does \
         not renew it.",
        everything(
            "protocol = 'UNSPECIFIED'\n\
             session_affinity = 'CLIENT_IP'\n\
             connection_tracking_policy = { tracking_mode = 'PER_SESSION' }",
        ),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
    .healthy("b2")
    .frame(&client(7).tcp(40_001, 80, SYN), hit("all", "b1"))
    .frame(&client(7).udp(5_000, 53), hit("all", "b1"))
    .frame(&client(7).esp(1), hit("all", "b1"))
    // What is never tracked goes by its hash alone.
    .frame(&client(7).echo_request(1, 1), off("all", "b2"))
    .unhealthy("b1")
    .frame(&client(8).tcp(40_000, 443, SYN), new("all", "b2"))
}

fn per_session_ports() -> Fixture {
    Fixture::new(
        "tracking/per-session-of-five-tuples-is-per-connection",
        "With PER_SESSION and CLIENT_IP_PORT_PROTO the session is the connection, so a SYN starts it anew.",
        web("session_affinity = 'CLIENT_IP_PORT_PROTO'\n\
            connection_tracking_policy = { tracking_mode = 'PER_SESSION' }"),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_001, 443, SYN), new("web", "b2"))
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b2"))
}

fn no_destination() -> Fixture {
    let to = |dst| Packet::between("198.51.100.7", dst);
    Fixture::new(
        "tracking/client-ip-no-destination-spans-destinations",
        "With CLIENT_IP_NO_DESTINATION and PER_SESSION a client's packets to every destination share one \
         entry.",
        everything_internal(
            "protocol = 'UNSPECIFIED'\n\
             session_affinity = 'CLIENT_IP_NO_DESTINATION'\n\
             connection_tracking_policy = { tracking_mode = 'PER_SESSION' }",
        )
        .route("branch", "203.0.113.128/25", "all"),
    )
    .unhealthy("b2")
    .frame(&to("203.0.113.10").tcp(40_000, 443, SYN), new("all", "b1"))
    .healthy("b2")
    .frame(&to("203.0.113.200").tcp(40_001, 443, SYN), hit("all", "b1"))
    .frame(&to("203.0.113.201").udp(40_001, 53), hit("all", "b1"))
}
