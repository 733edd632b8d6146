//! Admission to the conntrack table: sources that have begun as many connections in a second as they may.
//!
//! Limits are a worker's own, so each source has packets of one flow alone here, which all come to the same worker.

use super::{client, client_v6, web};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::tcp::{ACK, FIN, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![source(), reload()]
}

const REFUSED: Outcome = Outcome::Refuse("web", "source_rate_limited");

/// Services of TCP over both families and of UDP that is not tracked, behind a limit of one connection.
fn limited() -> Configuration {
    web("protocol = 'UNSPECIFIED'")
        .conntrack("new_connections_per_source_per_sec = 1")
        .rule("udp", "ip_address = '203.0.113.10'\nip_protocol = 'UDP'\nports = [53]")
        .external("web-v6", "")
        .rule("web-v6", "ip_address = '2001:db8::10'\nports = [443]")
        .group("near-v6", Mode::L2, &[("b3", "2001:db8:1::13")])
}

fn source() -> Fixture {
    let refused_v6 = Outcome::Refuse("web-v6", "source_rate_limited");
    Fixture::new(
        "admission/a-source-begins-so-many-connections-in-a-second",
        "Beyond the limit of its second a source's packets that would begin a connection are dropped; those of its connections \
         go on, a SYN that comes again is no second one, and what is not tracked is not limited.",
        limited(),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, FIN | ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, SYN), REFUSED)
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(8).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(9).udp(40_000, 53), off("udp", "b1"))
    .frame(&client(9).udp(40_000, 53), off("udp", "b1"))
    .frame(&client_v6(7).tcp(40_000, 443, ACK), new("web-v6", "b3"))
    .frame(&client_v6(7).tcp(40_000, 443, SYN), refused_v6)
    .wait(1000)
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("web-v6", "b3"))
}

fn reload() -> Fixture {
    let limited = || web("").conntrack("new_connections_per_source_per_sec = 1");
    Fixture::new(
        "admission/a-reload-turns-the-limit-of-sources-on-and-off",
        "A reload that sets a limit of sources holds from then on, and one that takes it away lets all begin again.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .wait(1000)
    .reload(limited())
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, SYN), REFUSED)
    .reload(web(""))
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
}
