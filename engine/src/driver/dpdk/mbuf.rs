//! Frames in a mempool's memory, which go back to their pool when they are dropped.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dpdk_sys as sys;

const _: () = assert!(sys::RTE_PKTMBUF_HEADROOM as usize == HEADROOM);

/// Frame in one mbuf: whole in its one segment, with no other owner.
///
/// ```text
/// buffer:  | headroom      | frame     | tailroom      |
///          buf_addr        + data_off  + data_len      + buf_len
/// ```
///
/// The size is that of a pointer, so that a slice of frames is an array as DPDK takes and gives it.
#[repr(transparent)]
pub struct DpdkMbuf<'eal> {
    /// Mbuf that is valid until it is freed, and that nothing else refers to: `refcnt` and `nb_segs` are 1.
    mbuf: NonNull<sys::rte_mbuf>,
    eal: PhantomData<&'eal ()>,
}

// SAFETY: nothing else refers to the mbuf, and any thread may free it: pools are made to be put into by several at
// once (DPDK's default, `ring_mp_mc`), and the caches before them are each one registered thread's.
unsafe impl Send for DpdkMbuf<'_> {}

impl DpdkMbuf<'_> {
    /// Takes over an mbuf; if its frame lies in several segments, frees it and returns `None`.
    ///
    /// # Safety
    /// The mbuf comes out of a pool of the EAL that `'eal` belongs to, is initialised, and is handed over: nothing
    /// else refers to it or to its buffer.
    #[inline]
    pub(super) unsafe fn from_raw(mbuf: NonNull<sys::rte_mbuf>) -> Option<Self> {
        let owned = Self { mbuf, eal: PhantomData };
        // Dropping it frees every segment.
        if owned.header().nb_segs() == 1 { Some(owned) } else { None }
    }

    /// Zero if the frame lies in one mbuf; any other value if it does not, or if its header counts no segment at all.
    #[inline]
    pub(super) fn segments_but_one(&self) -> u16 {
        self.header().nb_segs() ^ 1
    }

    /// Copies the bytes of a frame in several segments into its first, and gives the others back; false if they do not
    /// fit, and then nothing is changed.
    #[cold]
    pub(super) fn join_segments(&mut self) -> bool {
        // A header that counts no segment is no chain to follow.
        if self.header().nb_segs() == 0 {
            return false;
        }
        // SAFETY: the mbuf and the chain behind it are owned by `self`, and drivers count segments and bytes right.
        unsafe { sys::guideway_mbuf_linearize(self.mbuf.as_ptr()) == 0 }
    }

    /// Puts the VLAN tag back into a frame that the device has taken it off; false if there is no room for it. A frame that has
    /// its tag, or never had one, stays as it is.
    #[inline]
    pub(super) fn restore_tag(&mut self) -> bool {
        if self.header().ol_flags() & sys::guideway_mbuf_vlan_stripped == 0 {
            return true;
        }
        self.insert_tag()
    }

    fn insert_tag(&mut self) -> bool {
        const ADDRESSES: usize = 12;
        let [high, low] = self.header().vlan_tci().to_be_bytes();
        if self.bytes().len() < ADDRESSES || !self.prepend(4) {
            return false;
        }
        let bytes = self.bytes_mut();
        bytes.copy_within(4..4 + ADDRESSES, 0);
        bytes[ADDRESSES..ADDRESSES + 4].copy_from_slice(&[0x81, 0, high, low]);
        let header = self.header_mut();
        header.set_ol_flags(header.ol_flags() & !sys::guideway_mbuf_vlan_stripped);
        true
    }

    /// Notes the VLAN tag that was taken off a frame, as drivers do.
    #[cfg(test)]
    pub(super) fn stripped_of(mut self, tag: u16) -> Self {
        let header = self.header_mut();
        header.set_vlan_tci(tag);
        header.set_ol_flags(header.ol_flags() | sys::guideway_mbuf_vlan_stripped);
        self
    }

    /// Makes another frame the second segment of this one, as drivers do with a frame that exceeds an mbuf.
    #[cfg(test)]
    pub(super) fn followed_by(mut self, next: Self) -> Self {
        let header = self.header_mut();
        header.set_next(next.mbuf.as_ptr());
        header.set_nb_segs(2);
        header.set_pkt_len(header.pkt_len() + next.header().pkt_len());
        // The segment is the chain's from now on, which is freed as one.
        std::mem::forget(next);
        self
    }

    /// Appends `bytes`; false if the tailroom is too short, and then nothing is changed.
    pub(super) fn append(&mut self, bytes: &[u8]) -> bool {
        let header = self.header_mut();
        let old_len = header.data_len();
        let new_len = usize::from(old_len) + bytes.len();
        if usize::from(header.data_off()) + new_len > usize::from(header.buf_len()) {
            return false;
        }
        // It fits: it is at most `buf_len`, a u16.
        header.set_data_len(new_len as u16);
        header.set_pkt_len(new_len as u32);
        self.bytes_mut()[usize::from(old_len)..].copy_from_slice(bytes);
        true
    }

    #[inline]
    fn header(&self) -> &sys::rte_mbuf {
        // SAFETY: the mbuf is valid until `self` is dropped, and nothing else refers to it.
        unsafe { self.mbuf.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: as in `header`; `self` is borrowed mutably as long as the result is.
        unsafe { self.mbuf.as_mut() }
    }

    /// Pointer to the frame's first byte.
    #[inline]
    fn data(&self) -> *mut u8 {
        let header = self.header();
        // SAFETY: drivers and the methods here keep `data_off + data_len <= buf_len`, so the sum stays in the buffer.
        unsafe { header.buf_addr().cast::<u8>().add(usize::from(header.data_off())) }
    }
}

impl Frame for DpdkMbuf<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the frame is the `data_len` bytes from `data` on, in the buffer (see `data`), whose memory EAL has
        // mapped and zeroed. Only `self` refers to it.
        unsafe { slice::from_raw_parts(self.data(), usize::from(self.header().data_len())) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `self` is borrowed mutably as long as the result is.
        unsafe { slice::from_raw_parts_mut(self.data(), usize::from(self.header().data_len())) }
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> bool {
        let header = self.header_mut();
        let Ok(count) = u16::try_from(count) else { return false };
        let Some(data_off) = header.data_off().checked_sub(count) else { return false };
        header.set_data_off(data_off);
        // It stays below `buf_len`: what the length gains, the offset has lost.
        let len = header.data_len() + count;
        header.set_data_len(len);
        header.set_pkt_len(u32::from(len));
        true
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        let header = self.header_mut();
        if let Ok(len) = u16::try_from(len)
            && len < header.data_len()
        {
            header.set_data_len(len);
            header.set_pkt_len(u32::from(len));
        }
    }

    #[inline]
    fn reframe(&mut self, count: usize, len: usize) -> Option<&mut [u8]> {
        let header = self.header_mut();
        let count = u16::try_from(count).ok()?;
        header.set_data_off(header.data_off().checked_sub(count)?);
        // As in `prepend` and `truncate`.
        let len = (header.data_len() + count).min(u16::try_from(len).unwrap_or(u16::MAX));
        header.set_data_len(len);
        header.set_pkt_len(u32::from(len));
        Some(self.bytes_mut())
    }

    fn another(&self, parts: [&[u8]; 2]) -> Option<Self> {
        // SAFETY: an mbuf's pool lives as long as EAL, which outlasts `'eal`.
        let mbuf = unsafe { sys::guideway_mbuf_alloc(self.header().pool()) };
        // SAFETY: the mbuf was just taken out of the pool and initialised, and nobody else has it.
        let mut other = unsafe { Self::from_raw(NonNull::new(mbuf)?) }?;
        parts.into_iter().all(|part| other.append(part)).then_some(other)
    }

    #[inline]
    fn offload_udp_checksum(&mut self, ip_offset: usize, ip_len: usize) -> bool {
        // SAFETY: the mbuf is owned, and this call writes to its header alone.
        unsafe {
            sys::guideway_mbuf_header_lengths(self.mbuf.as_ptr(), ip_offset as u16, ip_len as u16);
        }
        let header = self.header_mut();
        header.set_ol_flags(header.ol_flags() | sys::guideway_mbuf_udp6_checksum);
        true
    }
}

impl Drop for DpdkMbuf<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the mbuf is ours alone, and this is the last of it; its pool lives as long as EAL, which
        // outlasts `'eal`.
        unsafe { sys::guideway_mbuf_free(self.mbuf.as_ptr()) };
    }
}

impl fmt::Debug for DpdkMbuf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header();
        f.debug_struct("DpdkMbuf")
            .field("headroom", &header.data_off())
            .field("len", &header.data_len())
            .finish()
    }
}
