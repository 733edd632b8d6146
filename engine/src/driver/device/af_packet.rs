//! `net_af_packet`'s ring: slots of one size that the kernel copies frames into, as the device's arguments say.
//!
//! ```text
//! block: | slot                     | slot                     | …      slot:  | header  | frame       | rest |
//!        0                          framesz                  blocksz          0         66
//! ```
//!
//! Frames that do not fit a slot are cut, and the driver does not say so. Slots must follow one another without a gap, so a
//! block must hold whole ones.

use std::fmt;

use super::Device;

/// Driver's `DFLT_FRAME_SIZE`.
const DEFAULT_FRAME_SIZE: u32 = 2048;

/// Bytes of a slot before the frame: `TPACKET2_HDRLEN` (52) and room for 16 bytes of link header, aligned to 16, before
/// the IP header, and so 14 less before the Ethernet header.
const HEADER_LEN: u32 = 66;

/// Bytes of a slot before the frame as the driver counts them: `TPACKET2_HDRLEN - sizeof(struct sockaddr_ll)`.
const DRIVER_HEADER_LEN: u32 = 32;

/// Size of a page on machines where it is smallest.
const SMALLEST_PAGE: u32 = 4096;

/// Ring of a `net_af_packet` device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfPacketRing {
    frame_size: u32,
    /// Size of a block; None for the machine's page.
    block_size: Option<u32>,
}

impl AfPacketRing {
    /// Ring that the arguments of a device ask for; None for a device of another driver, and for numbers that the driver
    /// refuses by itself.
    pub fn of(device: &Device) -> Option<Self> {
        if !device.is_driven_by("net_af_packet") {
            return None;
        }
        let number = |key| device.argument(key).map(|value| value.parse::<u32>().ok().filter(|n| *n > 0));
        let frame_size = number("framesz").unwrap_or(Some(DEFAULT_FRAME_SIZE))?;
        let block_size = match number("blocksz") {
            Some(size) => Some(size?),
            None => None,
        };
        Some(Self { frame_size, block_size })
    }

    /// Ring that holds frames of `len` bytes, of the default size at least.
    pub fn for_frames(len: u32) -> Self {
        let frame_size = (len + HEADER_LEN).next_power_of_two().max(DEFAULT_FRAME_SIZE);
        Self { frame_size, block_size: Some(frame_size.max(SMALLEST_PAGE)) }
    }

    /// Bytes of the longest frame that is not cut, from its Ethernet header on.
    pub fn longest_frame(&self) -> u32 {
        self.frame_size.saturating_sub(HEADER_LEN)
    }

    /// True if slots follow each other without a gap, as the driver takes them to.
    pub fn is_seamless(&self) -> bool {
        // A page is a power of two.
        self.block_size.unwrap_or(SMALLEST_PAGE).is_multiple_of(self.frame_size)
            || (self.block_size.is_none() && self.frame_size.is_power_of_two())
    }

    /// Bytes that the driver demands of an mbuf: a little more than the longest frame.
    pub fn mbuf_room(&self) -> u32 {
        self.frame_size.saturating_sub(DRIVER_HEADER_LEN)
    }
}

impl fmt::Display for AfPacketRing {
    /// Writes the device's arguments for the ring.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "framesz={}", self.frame_size)?;
        self.block_size.map_or(Ok(()), |size| write!(f, ",blocksz={size}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(arguments: &str) -> Option<AfPacketRing> {
        AfPacketRing::of(&format!("net_af_packet0,iface=eth0{arguments}").parse().unwrap())
    }

    #[test]
    fn slots_are_as_long_as_the_arguments_say() {
        for (arguments, longest) in [("", 1982), (",qpairs=2", 1982), (",framesz=4096,blocksz=8192", 4030)] {
            assert_eq!(ring(arguments).unwrap().longest_frame(), longest, "{arguments}");
        }
        assert_eq!(ring(",framesz=16").unwrap().longest_frame(), 0);
        assert_eq!(AfPacketRing::of(&"net_pcap0,iface=eth0".parse().unwrap()), None);
        for refused in [",framesz=0", ",framesz=many", ",blocksz=-1"] {
            assert_eq!(ring(refused), None, "the driver says so");
        }
    }

    #[test]
    fn a_block_must_hold_whole_slots() {
        for (arguments, is_seamless) in [
            ("", true),
            (",framesz=1536", false),
            (",framesz=1536,blocksz=12288", true),
            (",framesz=2048,blocksz=4096", true),
            (",framesz=16384,blocksz=16384", true),
            // Where a page is larger, it holds them; where it is not, the driver says so.
            (",framesz=16384", true),
        ] {
            assert_eq!(ring(arguments).unwrap().is_seamless(), is_seamless, "{arguments}");
        }
    }

    #[test]
    fn a_ring_is_found_for_every_frame() {
        for (len, arguments) in [
            (1522, "framesz=2048,blocksz=4096"),
            (1983, "framesz=4096,blocksz=4096"),
            (4030, "framesz=4096,blocksz=4096"),
            (9022, "framesz=16384,blocksz=16384"),
        ] {
            let ring = AfPacketRing::for_frames(len);
            assert_eq!(ring.to_string(), arguments);
            assert!(
                ring.longest_frame() >= len && ring.is_seamless() && ring.mbuf_room() >= ring.longest_frame()
            );
        }
    }
}
