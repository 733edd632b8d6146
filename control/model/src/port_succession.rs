//! Ports over a reload: those that were opened at the start stay, and a new configuration finds its own among them.

use crate::config::Port;

/// Index in `before` of the port that each of `now` is, or [`None`] for a new one. A port is known by its name, or by its
/// device where it has another name and nobody has the old one.
pub(crate) fn predecessors(before: &[Port], now: &[Port]) -> Vec<Option<usize>> {
    let is_left = |port: &Port| now.iter().all(|other| other.name != port.name);
    let predecessor = |port: &Port| {
        let by_name = before.iter().position(|known| known.name == port.name);
        by_name.or_else(|| before.iter().position(|known| known.device == port.device && is_left(known)))
    };
    now.iter().map(predecessor).collect()
}

/// Ports that were opened at the start, with the addresses and gateways that a new configuration gives them: these need
/// no start. One that the configuration has no more keeps its own.
pub(crate) fn readdressed(before: &[Port], now: &[Port]) -> Vec<Port> {
    let mut ports = before.to_vec();
    for (port, predecessor) in now.iter().zip(predecessors(before, now)) {
        if let Some(kept) = predecessor.map(|index| &mut ports[index]) {
            *kept = with_addresses_of(kept, port);
        }
    }
    ports
}

/// A port that has all of `kept` but the addresses and gateways of `port`.
pub(crate) fn with_addresses_of(kept: &Port, port: &Port) -> Port {
    Port {
        addresses: port.addresses.clone(),
        ipv4_gateway: port.ipv4_gateway,
        ipv6_gateway: port.ipv6_gateway,
        ..kept.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn ports(ports: &[(&str, u8, &str)]) -> Vec<Port> {
        let port = |(name, device, address): &(&str, u8, &str)| {
            format!(
                "[[port]]\nname = \"{name}\"\ndevice = \"net_null{device}\"\nip_addresses = [\"{address}/24\"]\n"
            )
        };
        let text: String = ports.iter().map(port).collect();
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}")).ports
    }

    #[test]
    fn a_port_is_known_by_its_name_or_else_by_its_device() {
        let before = ports(&[("a", 0, "192.0.2.1"), ("b", 1, "198.51.100.1")]);
        type Row<'r> = (&'r str, &'r [(&'r str, u8, &'r str)], &'r [Option<usize>]);
        let rows: [Row<'_>; 5] = [
            ("in another order", &[("b", 1, "192.0.2.1"), ("a", 0, "198.51.100.1")], &[Some(1), Some(0)]),
            ("renamed", &[("a", 0, "192.0.2.1"), ("wan", 1, "198.51.100.1")], &[Some(0), Some(1)]),
            ("on another device", &[("a", 7, "192.0.2.1"), ("b", 1, "198.51.100.1")], &[Some(0), Some(1)]),
            (
                "names that change places",
                &[("b", 0, "192.0.2.1"), ("a", 1, "198.51.100.1")],
                &[Some(1), Some(0)],
            ),
            ("a new one", &[("a", 0, "192.0.2.1"), ("c", 2, "198.51.100.1")], &[Some(0), None]),
        ];
        for (claim, now, expected) in rows {
            assert_eq!(predecessors(&before, &ports(now)), expected, "{claim}");
        }
    }

    #[test]
    fn opened_ports_get_the_addresses_of_the_configuration_and_keep_all_else() {
        let before = ports(&[("a", 0, "192.0.2.1"), ("b", 1, "198.51.100.1")]);
        let now = ports(&[("wan", 1, "198.51.100.9"), ("c", 2, "203.0.113.1")]);
        let after = readdressed(&before, &now);
        assert_eq!(after, ports(&[("a", 0, "192.0.2.1"), ("b", 1, "198.51.100.9")]));
    }
}
