//! Captures that the engine's writers did not write: other people's files, and those of the fixtures' own writer.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use guideway_engine::capture::{CaptureReader, LinkType};
use pcap_fixtures::capture::capture;
use pcap_fixtures::packet::{Packet, tcp};

fn foreign(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcap-fixtures/foreign").join(name)
}

/// Reads each record's time, its length in the file and on the wire, and its UDP ports.
fn udp_records(name: &str) -> Vec<(u64, usize, u32, [u16; 2])> {
    let mut reader = CaptureReader::open(&foreign(name)).expect("a capture");
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().expect("a sound capture") {
        assert_eq!(record.link_type, LinkType::ETHERNET);
        // Ethernet, IPv4 without options, UDP.
        assert_eq!((&record.bytes[12..15], record.bytes[23]), (&[0x08, 0x00, 0x45][..], 17));
        let port = |at: usize| u16::from_be_bytes([record.bytes[at], record.bytes[at + 1]]);
        records.push((record.timestamp_nanos, record.bytes.len(), record.wire_len, [port(34), port(36)]));
    }
    records
}

#[test]
fn an_ntp_exchange_in_pcap_is_read() {
    let records = udp_records("ntp.pcap");
    assert_eq!(records.len(), 12);
    assert_eq!(records[0].0, 1_476_535_656_489_094_000);
    assert_eq!(records[11].0, 1_476_535_739_793_479_000);
    assert!(
        records
            .iter()
            .all(|(_, captured, wire, ports)| { (*captured, *wire) == (90, 90) && ports.contains(&123) })
    );
}

#[test]
fn a_dhcp_exchange_in_big_endian_pcapng_is_read() {
    let records = udp_records("test016-be.pcapng");
    let times_and_lengths: Vec<(u64, usize, u32)> =
        records.iter().map(|(time, captured, wire, _)| (*time, *captured, *wire)).collect();
    // 2012-06-29 07:28:25 UTC; the simple packet blocks have the time of the block before.
    let (first, second) = (1_340_954_905_298_858_000, 1_340_954_905_300_858_000);
    assert_eq!(times_and_lengths, [(0, 314, 314), (first, 342, 342), (first, 314, 314), (second, 342, 342)]);
    assert!(records.iter().all(|(_, _, _, ports)| *ports == [68, 67] || *ports == [67, 68]));
}

#[test]
fn the_fixtures_own_captures_are_read() {
    let frame = Packet::between("198.51.100.7", "203.0.113.10").tcp(40_000, 443, tcp::SYN).build();
    let file = capture([(1_767_225_600_000_000_001, &frame[..])]);
    let mut reader = CaptureReader::new(&file[..]).unwrap();
    let record = reader.next_record().unwrap().unwrap();
    assert_eq!((record.timestamp_nanos, record.bytes), (1_767_225_600_000_000_001, &frame[..]));
    assert_eq!(record.bytes[30..34], Ipv4Addr::new(203, 0, 113, 10).octets());
}

#[test]
fn a_missing_file_is_told_as_the_system_tells_it() {
    let error = CaptureReader::open(&foreign("none.pcap")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the capture: No such file or directory (os error 2)");
}
