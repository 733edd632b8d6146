//! Makes a capsule mbuf a frame of the data plane.
#![allow(unsafe_code)]

use capsule::Mbuf;
use guideway_dataplane::frame::Frame;

/// Frame of the data plane in a capsule mbuf.
///
/// Capsule does not let the headroom be used: what is prepended moves the whole frame towards the mbuf's end.
pub(crate) struct CapsuleFrame {
    mbuf: Mbuf,
    prepended: usize,
}

impl CapsuleFrame {
    /// Takes the frame in `mbuf`, and appends the zeros that make it `wire_len` bytes long: a capture may have cut
    /// it.
    pub(crate) fn new(mut mbuf: Mbuf, wire_len: usize) -> Self {
        let captured_len = mbuf.data_len();
        if captured_len < wire_len {
            mbuf.extend(captured_len, wire_len - captured_len)
                .expect("the capture's reader admits what fits");
        }
        let mut frame = Self { mbuf, prepended: 0 };
        frame.bytes_mut()[captured_len..].fill(0);
        frame
    }

    /// Number of bytes that were put before the frame.
    pub(crate) fn prepended(&self) -> usize {
        self.prepended
    }

    pub(crate) fn into_mbuf(self) -> Mbuf {
        self.mbuf
    }
}

impl Frame for CapsuleFrame {
    fn bytes(&self) -> &[u8] {
        match self.mbuf.read_data_slice(0, self.mbuf.data_len()) {
            // SAFETY: capsule has checked that the mbuf's one segment holds these bytes. They are initialized
            // as EAL maps zeroed memory. The mbuf owns them, and is borrowed for as long as they are.
            Ok(bytes) => unsafe { bytes.as_ref() },
            Err(_) => &[], // capsule refuses to read an empty frame
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self.mbuf.read_data_slice(0, self.mbuf.data_len()) {
            // SAFETY: as above; the mbuf is borrowed mutably, so nobody else has them.
            Ok(mut bytes) => unsafe { bytes.as_mut() },
            Err(_) => &mut [],
        }
    }

    fn prepend(&mut self, count: usize) -> bool {
        let grown = count == 0 || self.mbuf.extend(0, count).is_ok();
        self.prepended += if grown { count } else { 0 };
        grown
    }

    fn truncate(&mut self, len: usize) {
        if len < self.mbuf.data_len() {
            self.mbuf.truncate(len).expect("capsule refuses to lengthen, and nothing else");
        }
    }
}
