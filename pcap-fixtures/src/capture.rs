//! Captures in memory: nanosecond pcap, little-endian, Ethernet.

/// Frame of a capture, with its time.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Time of the frame in nanoseconds since the epoch.
    pub nanos: u64,
    /// Bytes of the frame, as many as were kept.
    pub bytes: &'a [u8],
    /// Length of the frame on the wire.
    pub wire_len: usize,
}

/// Makes the capture of whole `frames`, each with its time in nanoseconds since the epoch.
pub fn capture<'a>(frames: impl IntoIterator<Item = (u64, &'a [u8])>) -> Vec<u8> {
    capture_of(frames.into_iter().map(|(nanos, bytes)| Record { nanos, bytes, wire_len: bytes.len() }))
}

/// Makes the capture of `records`, whose frames need not be whole.
pub fn capture_of<'a>(records: impl IntoIterator<Item = Record<'a>>) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_3c4d_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(262_144_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for Record { nanos, bytes, wire_len } in records {
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, bytes.len() as u32, wire_len as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}
