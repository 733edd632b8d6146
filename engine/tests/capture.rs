//! Captures of every format and byte order, as they are read; their bytes are made here, apart from the reader's code.

use guideway_engine::capture::{CaptureError, CaptureReader, CaptureWriter, LinkType, MAX_FRAME_LEN};
use proptest::prelude::*;

/// Record as a test states it: nanoseconds, bytes, length on the wire.
type Stated = (u64, Vec<u8>, u32);

/// Reads all records, and the error that ended the capture, if one did.
fn read(capture: &[u8]) -> (Vec<Stated>, Option<CaptureError>) {
    let mut reader = match CaptureReader::new(capture) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut records = Vec::new();
    let error = loop {
        match reader.next_record() {
            Ok(Some(record)) => {
                records.push((record.timestamp_nanos, record.bytes.to_vec(), record.wire_len));
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert_eq!(reader.records(), records.len() as u64);
    assert!(matches!(reader.next_record(), Ok(None)), "nothing follows the end");
    (records, error)
}

/// Reads all records of a capture that is sound.
fn read_whole(capture: &[u8]) -> Vec<Stated> {
    let (records, error) = read(capture);
    if let Some(error) = error {
        panic!("{error}");
    }
    records
}

fn error_of(capture: &[u8]) -> CaptureError {
    read(capture).1.expect("the capture is not sound")
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Little,
    Big,
}

const BOTH: [Order; 2] = [Order::Little, Order::Big];

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }

    fn pcap_header(self, magic: u32, link_type: u32) -> Vec<u8> {
        let mut header = self.u32(magic).to_vec();
        header.extend(self.u16(2));
        header.extend(self.u16(4));
        header.extend(self.words(&[0, 0, 65_535, link_type]));
        header
    }

    fn pcap_record(self, seconds: u32, fraction: u32, bytes: &[u8], wire_len: u32) -> Vec<u8> {
        [&self.words(&[seconds, fraction, bytes.len() as u32, wire_len])[..], bytes].concat()
    }

    /// Makes a pcapng block of this type around `body`, which is padded.
    fn block(self, block_type: u32, body: &[u8]) -> Vec<u8> {
        let padding = body.len().next_multiple_of(4) - body.len();
        let len = (12 + body.len() + padding) as u32;
        [&self.words(&[block_type, len])[..], body, &[0; 3][..padding], &self.u32(len)].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        self.block(0x0a0d_0d0a, &[&self.u32(0x1a2b_3c4d)[..], &version, &[0xff; 8]].concat())
    }

    fn interface(self, link_type: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
        let head = [self.u16(link_type), [0; 2]].concat();
        self.block(1, &[&head[..], &self.u32(snaplen), options].concat())
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let padding = value.len().next_multiple_of(4) - value.len();
        [&self.u16(code)[..], &self.u16(value.len() as u16), value, &[0; 3][..padding]].concat()
    }

    fn enhanced(self, interface: u32, time: u64, bytes: &[u8], wire_len: u32) -> Vec<u8> {
        let head = [interface, (time >> 32) as u32, time as u32, bytes.len() as u32, wire_len];
        self.block(6, &[&self.words(&head)[..], bytes].concat())
    }

    fn obsolete(self, interface: u16, time: u64, bytes: &[u8], wire_len: u32) -> Vec<u8> {
        let head = [self.u16(interface), self.u16(3)].concat();
        let rest = [(time >> 32) as u32, time as u32, bytes.len() as u32, wire_len];
        self.block(2, &[&head[..], &self.words(&rest), bytes].concat())
    }

    fn simple(self, bytes: &[u8], wire_len: u32) -> Vec<u8> {
        self.block(3, &[&self.u32(wire_len)[..], bytes].concat())
    }
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_resolutions() {
    for order in BOTH {
        for (magic, unit_nanos) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1)] {
            let capture = [
                order.pcap_header(magic, 1),
                order.pcap_record(1_700_000_000, 999_999, b"whole frame", 11),
                order.pcap_record(4_294_967_295, 2, b"cut", 1500),
                order.pcap_record(0, 0, b"", 0),
            ]
            .concat();
            assert_eq!(
                read_whole(&capture),
                [
                    (1_700_000_000_000_000_000 + 999_999 * unit_nanos, b"whole frame".to_vec(), 11),
                    (4_294_967_295_000_000_000 + 2 * unit_nanos, b"cut".to_vec(), 1500),
                    (0, Vec::new(), 0),
                ],
                "{order:?} {magic:08x}"
            );
        }
    }
}

#[test]
fn the_modified_format_of_pcap_is_read() {
    let order = Order::Little;
    // Interface index, protocol, packet type, padding.
    let extra = order.words(&[2, 0]);
    let record = order.pcap_record(1, 2, b"", 60);
    let capture = [
        order.pcap_header(0xa1b2_cd34, 1),
        record[..8].to_vec(),
        order.words(&[5, 60]),
        extra,
        b"frame".to_vec(),
    ];
    assert_eq!(read_whole(&capture.concat()), [(1_000_002_000, b"frame".to_vec(), 60)]);
}

#[test]
fn the_link_type_of_pcap_is_read_without_the_check_sequences_length() {
    let order = Order::Little;
    let capture =
        [order.pcap_header(0xa1b2_c3d4, 0x2400_0001), order.pcap_record(0, 0, b"frame", 5)].concat();
    assert_eq!(read_whole(&capture).len(), 1);
}

#[test]
fn pcapng_is_read_with_every_packet_block() {
    for order in BOTH {
        let capture = [
            order.section(),
            order.interface(1, 96, &[]),
            order.enhanced(0, 1_700_000_000_000_001, b"enhanced", 8),
            order.simple(&[7; 96], 1500),
            order.simple(b"short", 5),
            order.obsolete(0, 1_700_000_000_000_002, b"obsolete", 60),
        ]
        .concat();
        assert_eq!(
            read_whole(&capture),
            [
                (1_700_000_000_000_001_000, b"enhanced".to_vec(), 8),
                (1_700_000_000_000_001_000, vec![7; 96], 1500),
                (1_700_000_000_000_001_000, b"short".to_vec(), 5),
                (1_700_000_000_000_002_000, b"obsolete".to_vec(), 60),
            ],
            "{order:?}"
        );
    }
}

#[test]
fn each_interface_of_pcapng_has_its_own_clock() {
    for order in BOTH {
        let clock = |resolution: u8, offset_seconds: i64| {
            [
                order.option(9, &[resolution]),
                order.option(14, &order.u64(offset_seconds as u64)),
                order.option(0, &[]),
            ]
            .concat()
        };
        let capture = [
            order.section(),
            order.interface(1, 0, &clock(9, 0)),
            order.interface(1, 0, &clock(6, 1_000)),
            order.interface(1, 0, &clock(0, -1)),
            order.interface(1, 0, &clock(0x80 | 10, 0)),
            order.interface(1, 0, &clock(12, 0)),
            order.interface(1, 0, &clock(127, 5)),
            order.interface(1, 0, &clock(0x80 | 127, 0)),
            order.interface(1, 0, &clock(0, i64::MAX)),
            order.interface(1, 0, &clock(0, i64::MIN)),
            order.enhanced(0, 3, b"", 0),
            order.enhanced(1, 3, b"", 0),
            order.enhanced(2, 3, b"", 0),
            order.enhanced(3, 1536, b"", 0),
            order.enhanced(4, 2_999, b"", 0),
            order.enhanced(5, u64::MAX, b"", 0),
            order.enhanced(6, u64::MAX, b"", 0),
            order.enhanced(7, u64::MAX, b"", 0),
            order.enhanced(8, 0, b"", 0),
        ]
        .concat();
        let times: Vec<u64> = read_whole(&capture).iter().map(|(time, _, _)| *time).collect();
        assert_eq!(
            times,
            [3, 1_000_000_003_000, 2_000_000_000, 1_500_000_000, 2, 5_000_000_000, 0, u64::MAX, 0],
            "{order:?}"
        );
    }
}

#[test]
fn each_section_of_pcapng_has_its_own_byte_order_and_interfaces() {
    let [little, big] = BOTH;
    let capture = [
        little.section(),
        little.interface(1, 0, &little.option(9, &[9])),
        little.enhanced(0, 1, b"one", 3),
        big.section(),
        big.interface(1, 0, &[]),
        big.enhanced(0, 2, b"two", 3),
        little.section(),
        little.interface(1, 0, &[]),
        little.enhanced(0, 3, b"three", 5),
    ]
    .concat();
    assert_eq!(
        read_whole(&capture),
        [(1, b"one".to_vec(), 3), (2_000, b"two".to_vec(), 3), (3_000, b"three".to_vec(), 5)]
    );
    let forgotten =
        [little.section(), little.interface(1, 0, &[]), big.section(), big.enhanced(0, 2, b"", 0)].concat();
    assert!(matches!(error_of(&forgotten), CaptureError::Malformed { records: 0, .. }));
}

#[test]
fn blocks_without_a_packet_are_skipped_however_long() {
    for order in BOTH {
        let capture = [
            order.section(),
            order.block(0x0bad, &vec![0x55; 20 * 1024 * 1024]),
            order.interface(1, 0, &[]),
            order.block(5, &[0; 12]),
            order.block(0x7fff_0000, b""),
            order.enhanced(0, 1, b"frame", 5),
            order.block(10, b"secrets"),
        ]
        .concat();
        assert_eq!(read_whole(&capture), [(1_000, b"frame".to_vec(), 5)]);
    }
}

#[test]
fn packets_of_raw_ip_and_cooked_captures_become_ethernet_frames() {
    let order = Order::Big;
    let cooked = [&[0; 14][..], &[0x86, 0xdd, 0x60]].concat();
    let capture = [
        order.section(),
        order.interface(101, 3, &[]),
        order.interface(113, 0, &[]),
        order.simple(&[0x45, 1, 2], 40),
        order.enhanced(1, 0, &cooked, 56),
    ]
    .concat();
    assert_eq!(
        read_whole(&capture),
        [
            (0, [&[0; 12][..], &[0x08, 0x00, 0x45, 1, 2]].concat(), 54),
            (0, [&[0; 12][..], &[0x86, 0xdd, 0x60]].concat(), 54),
        ]
    );
}

#[test]
fn a_link_layer_that_carries_no_ethernet_is_refused_where_its_first_frame_is() {
    let order = Order::Little;
    let capture = [
        order.section(),
        order.interface(1, 0, &[]),
        order.interface(105, 0, &[]),
        order.enhanced(0, 0, b"frame", 5),
        order.enhanced(1, 0, b"beacon", 6),
    ]
    .concat();
    let error = error_of(&capture);
    assert!(matches!(error, CaptureError::UnsupportedLinkType { records: 1, link_type: LinkType(105) }));
    assert_eq!(
        error.to_string(),
        "record 2 was captured as IEEE 802.11 (link type 105); Ethernet, raw IP and Linux cooked captures are read: \
         capture on an Ethernet interface (tcpdump -i eth0) or on all of them (tcpdump -i any)"
    );
}

#[test]
fn a_capture_without_records_is_sound() {
    assert!(read_whole(&Order::Big.pcap_header(0xa1b2_c3d4, 1)).is_empty());
    assert!(read_whole(&Order::Big.section()).is_empty());
}

#[test]
fn a_capture_cut_anywhere_delivers_its_whole_records_and_says_so() {
    let order = Order::Little;
    let parts = [
        vec![
            order.pcap_header(0xa1b2_c3d4, 1),
            order.pcap_record(1, 0, b"first", 5),
            order.pcap_record(2, 0, b"second", 6),
        ],
        vec![
            [order.section(), order.interface(1, 0, &[])].concat(),
            order.enhanced(0, 1, b"first", 5),
            order.enhanced(0, 2, b"second", 6),
        ],
    ];
    for parts in parts {
        let capture = parts.concat();
        let first_ends = parts[0].len() + parts[1].len();
        for cut in parts[0].len() + 1..capture.len() {
            let (records, error) = read(&capture[..cut]);
            if cut == first_ends {
                assert_eq!((records.len(), error.is_none()), (1, true));
                continue;
            }
            let (whole, start) = if cut < first_ends { (0, parts[0].len()) } else { (1, first_ends) };
            assert_eq!(records.len(), whole);
            let Some(CaptureError::Truncated { records, offset }) = error else {
                panic!("cut at {cut}: {error:?}");
            };
            assert_eq!((records, offset), (whole as u64, start as u64));
        }
    }
    let error =
        error_of(&[order.pcap_header(0xa1b2_c3d4, 1), order.pcap_record(1, 0, b"", 0), vec![1]].concat());
    assert_eq!(
        error.to_string(),
        "the capture ends in the middle of record 2, which starts at byte 40; the 1 before it are whole: \
         let the capturing tool end by itself (Ctrl-C, no kill -9), or go on with them"
    );
    assert_eq!(error.records(), 1);
}

#[test]
fn a_skipped_block_that_is_cut_is_noticed() {
    let order = Order::Little;
    let capture = [order.section(), order.block(5, &[0; 32])].concat();
    for cut in order.section().len() + 1..capture.len() {
        assert!(
            matches!(error_of(&capture[..cut]), CaptureError::Truncated { records: 0, offset: 28 }),
            "{cut}"
        );
    }
    let after = [&capture[..], &[6]].concat();
    assert!(matches!(error_of(&after), CaptureError::Truncated { records: 0, offset: 72 }));
}

#[test]
fn a_header_that_is_cut_is_no_capture() {
    let header = Order::Little.pcap_header(0xa1b2_c3d4, 1);
    assert!(matches!(error_of(&header[..0]), CaptureError::Empty));
    assert!(matches!(error_of(&header[..3]), CaptureError::NotACapture { .. }));
    assert!(matches!(error_of(&header[..23]), CaptureError::Truncated { records: 0, offset: 0 }));
}

#[test]
fn what_is_no_capture_is_told_what_it_looks_like() {
    assert_eq!(
        error_of(b"\x1f\x8b\x08\x00 and so on").to_string(),
        "not a capture: pcap and pcapng are read, and this file starts with 1f 8b 08 00, as a gzip file does; \
         gunzip it first"
    );
    assert_eq!(
        error_of(b"[network]\n").to_string(),
        "not a capture: pcap and pcapng are read, and this file starts with 5b 6e 65 74"
    );
    assert_eq!(error_of(b"").to_string(), "the file is empty, not a capture (pcap and pcapng are read)");
}

#[test]
fn a_frame_over_the_limit_is_refused_whether_captured_or_on_the_wire() {
    let order = Order::Little;
    let limit = MAX_FRAME_LEN as u32;
    let header = order.pcap_header(0xa1b2_c3d4, 1);
    let longest = [&header[..], &order.pcap_record(0, 0, &vec![1; MAX_FRAME_LEN], limit)].concat();
    assert_eq!(read_whole(&longest)[0].1.len(), MAX_FRAME_LEN);

    let captured = [&header[..], &order.words(&[0, 0, limit + 1, limit + 1])].concat();
    let wire = [&header[..], &order.pcap_record(0, 0, b"head", limit + 1)].concat();
    let pcapng =
        [order.section(), order.interface(1, 0, &[]), order.enhanced(0, 0, b"head", u32::MAX)].concat();
    for (capture, expected) in [(captured, limit + 1), (wire, limit + 1), (pcapng, u32::MAX)] {
        let CaptureError::FrameTooLong { records: 0, len, .. } = error_of(&capture) else {
            panic!("a frame of {expected} bytes was read");
        };
        assert_eq!(len, expected);
    }
}

#[test]
fn a_contradiction_in_pcapng_is_told_from_a_cut() {
    for order in BOTH {
        let start = [order.section(), order.interface(1, 0, &[])].concat();
        let mut two_lengths = order.enhanced(0, 0, b"frame", 5);
        *two_lengths.last_mut().unwrap() ^= 1;
        *two_lengths.iter_mut().rev().nth(3).unwrap() ^= 1;
        let longer_than_its_block = order.block(6, &order.words(&[0, 0, 0, 400, 400]));
        let never_described = order.enhanced(1, 0, b"frame", 5);
        let no_length = order.words(&[6, 8]);
        let odd_length = order.words(&[6, 33]);
        let endless = order.words(&[6, 0xffff_fffc]);
        let simple_longer_than_its_block = order.simple(b"frame", 100);
        let obsolete_too_short = order.block(2, &[0; 16]);
        for damage in [
            two_lengths,
            longer_than_its_block,
            never_described,
            no_length,
            odd_length,
            endless,
            simple_longer_than_its_block,
            obsolete_too_short,
        ] {
            let error = error_of(&[&start[..], &damage].concat());
            assert!(
                matches!(error, CaptureError::Malformed { records: 0, .. }),
                "{order:?} {damage:02x?}: {error}"
            );
        }
    }
    let mut future = Order::Little.section();
    future[12] = 2;
    assert!(matches!(error_of(&future), CaptureError::Malformed { .. }));
    let mut neither_order = Order::Little.section();
    neither_order[8] = 0;
    assert!(matches!(error_of(&neither_order), CaptureError::Malformed { .. }));
}

#[test]
fn a_capture_comes_through_a_pipe_of_any_shape() {
    /// Gives one byte at a time, and is interrupted before each.
    struct Trickle<'a>(&'a [u8], bool);

    impl std::io::Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let count = into.len().min(self.0.len()).min(1);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    let order = Order::Big;
    let capture = [
        order.section(),
        order.block(5, &[0; 32]),
        order.interface(1, 0, &[]),
        order.enhanced(0, 0, b"frame", 5),
    ]
    .concat();
    let mut reader = CaptureReader::new(Trickle(&capture, false)).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().bytes, b"frame");
    assert!(reader.next_record().unwrap().is_none());
}

#[test]
fn what_is_written_is_read_back() {
    let stated: Vec<Stated> = vec![
        (1_700_000_000_123_456_789, b"frame".to_vec(), 60),
        (5, Vec::new(), 0),
        (4, vec![9; 9000], 9000),
    ];
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    for (time, bytes, wire_len) in &stated {
        writer.write(*time, bytes, *wire_len).unwrap();
    }
    assert_eq!(read_whole(&writer.finish().unwrap()), stated);
}

/// Generates starts of files that a reader takes for a capture's.
fn starts() -> impl Strategy<Value = Vec<u8>> {
    let [little, big] = BOTH;
    prop::sample::select(vec![
        Vec::new(),
        little.pcap_header(0xa1b2_c3d4, 1),
        big.pcap_header(0xa1b2_3c4d, 113),
        little.pcap_header(0xa1b2_cd34, 101),
        little.section(),
        [little.section(), little.interface(1, 0, &[])].concat(),
        [big.section(), big.interface(276, 64, &[])].concat(),
    ])
}

/// Generates blocks and records that are mostly sound, with words in them that are not.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let order = prop::sample::select(BOTH.to_vec());
    let small = prop_oneof![0u32..80, any::<u32>()];
    let words = prop::collection::vec(small, 0..10);
    let block = (order, prop_oneof![0u32..8, Just(0x0a0d_0d0a), any::<u32>()], words)
        .prop_map(|(order, block_type, words)| order.block(block_type, &order.words(&words)));
    let bytes = prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![block, bytes]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_the_reader_panic_or_go_on_for_ever(
        start in starts(),
        pieces in prop::collection::vec(pieces(), 0..12),
    ) {
        let capture = [start, pieces.concat()].concat();
        let (records, error) = read(&capture);
        // A record takes 12 bytes of a file at least.
        prop_assert!(records.len() <= capture.len() / 12);
        if let Some(error) = error {
            prop_assert_eq!(error.records(), records.len() as u64);
            prop_assert!(!error.to_string().is_empty());
        }
        for (_, bytes, wire_len) in records {
            prop_assert!(bytes.len() <= wire_len as usize && wire_len as usize <= MAX_FRAME_LEN);
        }
    }
}
