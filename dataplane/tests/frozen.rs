//! Frozen decisions: flow → selection hash → slot → backend. They are the same in every build, on every machine and
//! in every version; a fleet whose appliances disagree moves connections when it must not. Never change a line.
//!
//! The hashes agree with those of a SipHash-1-3 in Python, written from the paper (Aumasson and Bernstein, 2012).

use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode, Tuple,
};
use guideway_dataplane::flow::{Flow, Fragment};
use guideway_dataplane::maglev::{LookupTable, Weighted};
use guideway_dataplane::seed::Seed;

/// Source, destination, protocol, ports, tuple; then hash, slot and backend.
type Vector = (&'static str, &'static str, u8, [u16; 2], Tuple, u64, usize, &'static str);

fn expect(seed: Seed, backends: &[(&str, u16)], digest: u64, vectors: &[Vector]) {
    let weighted: Vec<Weighted<'_>> =
        backends.iter().map(|&(name, weight)| Weighted { name, weight }).collect();
    let table = LookupTable::build(&seed, &weighted);
    let mut text = format!("{:#018x}", table.digest());
    let mut holds = table.digest() == digest;
    for &(src, dst, protocol, [src_port, dst_port], tuple, hash, slot, backend) in vectors {
        let flow = Flow {
            src: address(src),
            dst: address(dst),
            src_port,
            dst_port,
            protocol,
            fragment: Fragment::No,
        };
        let found_hash = seed.hash(tuple.bytes(&flow).as_slice());
        let found_slot = table.slot_of(found_hash);
        let found = backends[usize::from(table.at(found_slot))].0;
        holds &= (found_hash, found_slot, found) == (hash, slot, backend);
        text += &format!(
            "\n{src} {dst} {protocol} {src_port} {dst_port} {tuple:?} {found_hash:#018x}, {found_slot}, {found:?}"
        );
    }
    assert!(holds, "now it is:\n{text}");
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}

#[test]
#[rustfmt::skip]
fn even_backends_are_chosen_as_ever() {
    expect(
        Seed::DEFAULT,
        &[("web-1", 1), ("web-2", 1), ("web-3", 1)],
        0xc108_0471_c2b9_fbea,
        &[
            ("192.0.2.7", "203.0.113.10", 6, [40_001, 443], Tuple::Five, 0xf439_e1df_4275_540d, 62522, "web-3"),
            ("192.0.2.7", "203.0.113.10", 6, [40_002, 443], Tuple::Five, 0x613a_68f7_31db_0e19, 24890, "web-3"),
            ("192.0.2.7", "203.0.113.10", 17, [40_001, 443], Tuple::Five, 0x4ea6_a68f_2469_5873, 20134, "web-2"),
            ("192.0.2.7", "203.0.113.10", 50, [0, 0], Tuple::Three, 0x3d87_d05d_d700_034b, 15752, "web-2"),
            ("192.0.2.7", "203.0.113.10", 6, [40_001, 443], Tuple::Two, 0x551a_5ce4_bbfd_c7ae, 21786, "web-2"),
            ("192.0.2.7", "203.0.113.10", 6, [40_001, 443], Tuple::One, 0x06bc_bba6_badc_1cc0, 1724, "web-1"),
            ("255.255.255.255", "0.0.0.0", 255, [65_535, 0], Tuple::Five, 0x813c_2d7b_2207_062f, 33084, "web-2"),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn weighted_backends_are_chosen_as_ever() {
    expect(
        Seed::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        &[("a", 1000), ("b", 1), ("c", 250), ("idle", 0)],
        0xa5c4_9090_bc41_1e7b,
        &[
            ("198.51.100.1", "203.0.113.10", 6, [1, 80], Tuple::Five, 0xc94f_77a5_6551_75ba, 51536, "c"),
            ("198.51.100.2", "203.0.113.10", 6, [1, 80], Tuple::Five, 0x1849_0e64_aa7e_5276, 6217, "a"),
            ("198.51.100.3", "203.0.113.10", 6, [1, 80], Tuple::Five, 0xafa0_e54d_53e7_aa63, 44961, "a"),
            ("198.51.100.4", "203.0.113.10", 6, [1, 80], Tuple::Three, 0x3f25_8567_c1b7_ce73, 16165, "a"),
            ("198.51.100.5", "203.0.113.10", 6, [1, 80], Tuple::Two, 0xeca7_d2e9_039a_da2b, 60584, "a"),
            ("198.51.100.6", "203.0.113.10", 6, [1, 80], Tuple::One, 0x24ea_96f6_dd2d_fe36, 9450, "c"),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn ipv6_clients_are_sent_where_they_ever_were() {
    expect(
        Seed::DEFAULT,
        &[("fra-1", 10), ("fra-2", 20), ("fra-3", 30), ("fra-4", 40)],
        0x9eee_0528_5ff4_c8a8,
        &[
            ("2001:db8:c::7", "2001:db8::10", 6, [40_001, 443], Tuple::Five, 0x40bd_a70c_66b1_962f, 16573, "fra-4"),
            ("2001:db8:c::8", "2001:db8::10", 6, [40_001, 443], Tuple::Five, 0xbab6_cc60_f16f_5f2d, 47799, "fra-4"),
            ("2001:db8:c::7", "2001:db8::10", 58, [0, 0], Tuple::Three, 0x7b46_8e56_8237_4d4f, 31559, "fra-4"),
            ("2001:db8:c::7", "2001:db8::10", 17, [5353, 53], Tuple::Two, 0x6452_5503_cb5a_2e6c, 25682, "fra-2"),
            ("2001:db8:c::7", "2001:db8::10", 17, [5353, 53], Tuple::One, 0xa3e9_d811_3b4d_9f42, 41962, "fra-1"),
            ("fe80::ffff:ffff:ffff:ffff", "2001:db8::", 132, [0, 0], Tuple::Three, 0xbed5_7d51_7f01_c911, 48854, "fra-3"),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn a_thousand_backends_are_chosen_as_ever() {
    let names: Vec<String> = (0..1000).map(|number| format!("backend-{number:04}")).collect();
    let backends: Vec<(&str, u16)> = names.iter().map(String::as_str).zip(1..=1000).collect();
    expect(
        Seed::new(*b"another fleet's."),
        &backends,
        0x92e5_4a4f_32a7_fa26,
        &[
            ("10.0.0.1", "10.0.0.2", 6, [1, 2], Tuple::Five, 0x38e0_a679_edce_14b2, 14560, "backend-0523"),
            ("10.0.0.3", "10.0.0.2", 17, [1, 2], Tuple::Five, 0x5a3d_0f26_e972_1500, 23101, "backend-0432"),
            ("fd00::1", "fd00::2", 47, [0, 0], Tuple::Three, 0x60b1_40fe_a4c4_ca70, 24753, "backend-0994"),
        ],
    );
}

/// Packets that come by a route are hashed with their ends in order.
#[test]
#[rustfmt::skip]
fn both_directions_of_a_route_are_hashed_alike_and_as_ever() {
    let by_connection = SessionAffinity::None;
    for (src, dst, protocol, [src_port, dst_port], fragment, affinity, tuple, hash) in [
        ("198.51.100.7", "10.1.0.5", 6, [40_001, 443], Fragment::No, by_connection, Tuple::Five, 0x53ac_8c46_aeba_4a74),
        ("198.51.100.7", "10.1.0.5", 6, [40_001, 443], Fragment::First, by_connection, Tuple::Five, 0x53ac_8c46_aeba_4a74),
        ("198.51.100.7", "10.1.0.5", 17, [40_001, 53], Fragment::First, by_connection, Tuple::Three, 0x8db5_e749_ec6b_28b2),
        ("198.51.100.7", "10.1.0.5", 50, [0, 0], Fragment::No, by_connection, Tuple::Three, 0xced6_fc3c_8e15_0861),
        ("198.51.100.7", "10.1.0.5", 6, [40_001, 443], Fragment::No, SessionAffinity::ClientIp, Tuple::Two, 0xde86_4ae9_071b_7bed),
        ("10.9.9.9", "10.9.9.9", 6, [443, 80], Fragment::No, by_connection, Tuple::Five, 0x1706_4935_4c33_8bc6),
        ("2001:db8:99::5", "2001:db8:c::7", 6, [40_001, 443], Fragment::No, by_connection, Tuple::Five, 0xd67b_9034_0608_df2c),
    ] {
        let there = Flow { src: address(src), dst: address(dst), src_port, dst_port, protocol, fragment };
        let policy = AffinityPolicy::new(
            LoadBalancingScheme::Internal,
            affinity,
            TrackingMode::PerConnection,
            PersistenceOnUnhealthy::DefaultForProtocol,
        );
        for flow in [there, there.reversed()] {
            let hashed = policy.routed(&flow);
            assert_eq!(policy.selection_tuple(&hashed), tuple, "{flow:?}");
            let found = Seed::DEFAULT.hash(tuple.bytes(&hashed).as_slice());
            assert_eq!(found, hash, "{flow:?} gives {found:#018x}");
        }
    }
}
