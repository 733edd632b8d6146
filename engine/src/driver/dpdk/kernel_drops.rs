//! Sockets of the kernel below a virtual device: frames that were dropped before them, as no worker took them out of the ring in time,
//! where the device's driver does not count these; and the loss of the interface that they are bound to.
#![allow(unsafe_code)]

use guideway_dpdk_sys as sys;

use super::kernel_interface::KernelInterface;
use super::kernel_interfaces::KernelInterfaces;

/// The most queues of a device whose sockets are looked at.
const MAX_SOCKETS: usize = 64;

/// True where `net_af_packet` counts these frames by itself, and takes the kernel's counter with it.
const AF_PACKET_COUNTS: bool = sys::RTE_VER_YEAR > 25 || (sys::RTE_VER_YEAR == 25 && sys::RTE_VER_MONTH >= 3);

/// Sockets of a device, and the frames that were dropped before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KernelDrops {
    /// Packet sockets, whose counters begin anew with each look.
    packet: Vec<i32>,
    /// AF_XDP sockets, whose counters go on.
    xdp: Vec<i32>,
    /// Sockets that are cut off once the interface goes away.
    bound: Vec<i32>,
    /// Frames of sockets that are closed, and of earlier looks at packet sockets.
    counted: u64,
}

/// AF_XDP sockets that are open before a device opens its own: nobody else tells whose they are.
#[derive(Debug)]
pub(super) struct OpenBefore(Vec<i32>);

impl OpenBefore {
    /// Looks at the sockets that are open now, if a device with this driver opens such.
    pub(super) fn look(driver: &str) -> Self {
        Self(if driver == "net_af_xdp" { sockets(0) } else { Vec::new() })
    }
}

impl KernelDrops {
    /// Finds the sockets of a device that was opened, with this driver, on these interfaces.
    pub(super) fn of(driver: &str, interfaces: &KernelInterfaces, before: &OpenBefore) -> Self {
        let mut drops = Self::default();
        match driver {
            "net_af_packet" | "net_pcap" => {
                // No socket is bound to the index 0, which is that of an interface that is gone.
                let indices = interfaces.iter().map(KernelInterface::index).filter(|index| *index != 0);
                drops.bound = indices.flat_map(sockets).collect();
                if driver == "net_af_packet" && !AF_PACKET_COUNTS {
                    drops.packet.clone_from(&drops.bound);
                }
            }
            "net_af_xdp" if interfaces.state().is_some() => {
                drops.xdp = sockets(0).into_iter().filter(|socket| !before.0.contains(socket)).collect();
                drops.bound.clone_from(&drops.xdp);
            }
            _ => {}
        }
        drops
    }

    /// Counts for the last time before the device closes its sockets, whose numbers the kernel gives to others then.
    pub(super) fn keep(&mut self) {
        *self = Self { counted: self.count(), ..Self::default() };
    }

    /// Goes on with the sockets of a device that was opened anew, after [`keep`](Self::keep).
    pub(super) fn follow(&mut self, next: Self) {
        *self = Self { counted: self.counted, ..next };
    }

    /// True if the interface has left the network namespace since the device was opened, though it may be back; told once.
    pub(super) fn are_cut_off(&self) -> bool {
        // SAFETY: the function reads the state of a socket, and says no where there is none.
        self.bound.iter().any(|socket| unsafe { sys::guideway_socket_is_cut_off(*socket) } != 0)
    }

    /// Frames that were dropped since the device was first opened.
    pub(super) fn count(&mut self) -> u64 {
        // SAFETY: the sockets are the device's and open; where one is not, the answer is 0.
        let dropped = self.packet.iter().map(|socket| unsafe { sys::guideway_packet_socket_drops(*socket) });
        self.counted += dropped.sum::<u64>();
        // SAFETY: as above.
        let in_all = self.xdp.iter().map(|socket| unsafe { sys::guideway_xdp_socket_drops(*socket) });
        self.counted + in_all.sum::<u64>()
    }
}

/// Packet sockets on an interface, or AF_XDP sockets.
fn sockets(index: u32) -> Vec<i32> {
    let mut found = [0; MAX_SOCKETS];
    // SAFETY: the function writes no more numbers than there is room for.
    let count = unsafe { sys::guideway_sockets(index, found.as_mut_ptr(), MAX_SOCKETS as i32) };
    found[..count as usize].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_are_no_more_tell_nothing_and_what_was_counted_stays() {
        let mut drops = KernelDrops { packet: vec![-1], xdp: vec![-1], bound: vec![-1], counted: 5 };
        assert!(!drops.are_cut_off());
        assert_eq!(drops.count(), 5);
        drops.keep();
        assert_eq!(
            drops,
            KernelDrops { counted: 5, ..KernelDrops::default() },
            "closed sockets are asked nothing"
        );
        drops.follow(KernelDrops { packet: vec![-1], ..KernelDrops::default() });
        assert_eq!((drops.count(), drops.packet), (5, vec![-1]));
        assert_eq!(
            KernelDrops::of("net_null", &KernelInterfaces::default(), &OpenBefore::look("net_null")),
            KernelDrops::default()
        );
    }
}
