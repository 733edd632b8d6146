//! Clients that test frames come from: addresses set aside for benchmarks, and a port for each flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol::Family;

/// First of the addresses of 198.18.0.0/15 (RFC 2544, appendix C.2.2).
const IPV4: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// First of the addresses of 2001:2::/48 (RFC 5180).
const IPV6: u128 = 0x2001_0002 << 96;

/// Bits in which the addresses of clients differ.
const ADDRESS_BITS: u32 = 17;

/// First port of the clients, and the bits in which ports differ.
const FIRST_PORT: u16 = 1024;
const PORT_BITS: u32 = 32 - ADDRESS_BITS;

/// Flows that have an address and a port of their own.
pub(super) const MAX_FLOWS: u32 = 1 << 24;

/// First and last address of the clients.
pub(super) fn ends(family: Family) -> [IpAddr; 2] {
    [0, (1 << ADDRESS_BITS) - 1].map(|number| match family {
        Family::Ipv4 => Ipv4Addr::from(IPV4 | number).into(),
        Family::Ipv6 => Ipv6Addr::from(IPV6 | u128::from(number)).into(),
    })
}

/// The last four bytes of a flow's address, which begins as the first client's, and its port.
#[inline]
pub(super) fn of_flow(flow: u32, family: Family) -> ([u8; 4], [u8; 2]) {
    // Multiplied by an odd number, so that neighbours in number are none in address, and no two are the same.
    let spread = flow.wrapping_mul(0x9e37_79b1);
    let number = spread >> PORT_BITS;
    let address = match family {
        Family::Ipv4 => IPV4 | number,
        Family::Ipv6 => number,
    };
    let port = FIRST_PORT + (spread & ((1 << PORT_BITS) - 1)) as u16;
    (address.to_be_bytes(), port.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn flows_differ_and_stay_within_the_range() {
        let flows: HashSet<_> = (0..100_000).map(|flow| of_flow(flow, Family::Ipv4)).collect();
        assert_eq!(flows.len(), 100_000);
        let [first, last] = ends(Family::Ipv4);
        assert_eq!((first.to_string(), last.to_string()), ("198.18.0.0".into(), "198.19.255.255".into()));
        for (address, port) in flows {
            assert!(
                (first..=last).contains(&IpAddr::from(address)) && u16::from_be_bytes(port) >= FIRST_PORT
            );
        }
        assert_eq!(ends(Family::Ipv6)[1].to_string(), "2001:2::1:ffff");
    }
}
