//! DPDK ports: each opened once, and stopped and closed when the last of its queues is gone.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_dpdk_sys as sys;

use super::address_filter::Addresses;
use super::ethdev::{DEFAULT_MTU, Offloads, device_info, offloads_of};
use super::kernel_drops::{KernelDrops, OpenBefore};
use super::kernel_interface::InterfaceState;
use super::kernel_interfaces::KernelInterfaces;
use super::link_return::LinkMemory;
use super::open_port::OpenPort;
use super::port_setup::{bring_up, settle};
use super::port_stats::{ForgottenStats, PortStats};
use super::{
    Eal, Mempool, PortOptions, QueueCounts, QueuePair, Refusal, Rss, StartError, open_files, preflight, rss,
    signals,
};
use crate::driver::device::Device;

/// Bytes of a frame beyond the MTU: Ethernet header and two VLAN tags.
const LINK_HEADERS: u32 = 14 + 2 * 4;

/// Drivers that receive each frame into one mbuf: nothing in them chains a second one to it, whatever they are asked for.
///
/// Other drivers have each frame's header looked at: `net_pcap` chains mbufs for a frame that exceeds one, without being
/// asked, and so may others.
const ONE_MBUF_A_FRAME: [&str; 2] = ["net_null", "net_af_packet"];

/// Drivers that say truly, by a started queue, whether they chain mbufs (`scattered_rx`): each chooses its receive function
/// by that word. Others have the word and never write it.
const SAYS_IF_IT_CHAINS: [&str; 8] = [
    "net_e1000_em",
    "net_e1000_igb",
    "net_e1000_igb_vf",
    "net_ixgbe",
    "net_ixgbe_vf",
    "net_i40e",
    "net_iavf",
    "net_ice",
];

/// Control thread's end of an open port.
pub struct Port<'eal> {
    port: Arc<OpenPort<'eal>>,
    device: Device,
    driver: String,
    offloads: Offloads,
    /// Options that the port was opened with, as far as the device takes them, and is opened with again after a reset.
    options: PortOptions,
    refusals: Vec<Refusal>,
    rss: RefCell<Option<Rss>>,
    pool: Mempool<'eal>,
    /// MAC address that the device had before it was given another.
    own_mac: MacAddress,
    /// Network interfaces of the kernel below the device.
    interfaces: RefCell<KernelInterfaces>,
    /// Frames that the kernel has dropped below the device.
    drops: RefCell<KernelDrops>,
    /// Counts that the device has forgotten, as it was reset.
    forgotten: Cell<ForgottenStats>,
    addresses: RefCell<Addresses>,
    /// VLANs that the device has taken, and those that it is to take.
    vlans: RefCell<BTreeSet<u16>>,
    wanted_vlans: RefCell<BTreeSet<u16>>,
    link_memory: Cell<LinkMemory>,
    /// Last answers of a driver that is not to be asked, from the beginning of a reset until one succeeds; None while it may be.
    lost: Cell<Option<LastKnown>>,
    /// DPDK does not promise that two threads may ask at once.
    not_sync: PhantomData<Cell<()>>,
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// True if the link is up.
    pub up: bool,
    /// Speed of the link in Mbit/s; [`u32::MAX`] if the device does not know it.
    pub speed_mbps: u32,
}

/// Last answers of a driver.
#[derive(Clone, Copy, Debug)]
struct LastKnown {
    mac: MacAddress,
    mtu: u16,
    stats: PortStats,
}

impl Eal {
    /// Reads what a device does by itself, before it is opened.
    ///
    /// # Errors
    /// [`StartError::DeviceRefused`] where no driver has taken it.
    pub fn offloads(&self, device: &Device) -> Result<Offloads, StartError> {
        let id = self.port_id(device)?;
        Ok(offloads_of(&device_info(id, device)?))
    }

    /// Opens and starts a port, whose received frames come from `pool`, with as many of the queues asked for as the device
    /// has and takes.
    ///
    /// Returns the control thread's end and the queues in pairs; where there are more of one direction, the last pairs have
    /// that one alone.
    ///
    /// # Errors
    /// [`StartError`] names what the device does not offer or refuses.
    pub fn open<'eal>(
        &'eal self,
        device: &Device,
        options: &PortOptions,
        pool: Mempool<'eal>,
    ) -> Result<(Port<'eal>, Vec<QueuePair<'eal>>), StartError> {
        let id = self.port_id(device)?;
        let info = device_info(id, device)?;
        let offloads = offloads_of(&info);
        let mtu = options.mtu.unwrap_or(DEFAULT_MTU);
        let longest = longest_mtu(&info);
        if mtu > longest {
            return Err(StartError::MtuTooLong { device: device.to_string(), mtu, longest });
        }
        let frame_len = u32::from(mtu) + LINK_HEADERS;
        if frame_len > u32::from(pool.data_room()) {
            return Err(StartError::BuffersTooSmall {
                device: device.to_string(),
                frame_len,
                data_room: u32::from(pool.data_room()),
            });
        }
        if !self.opened.borrow_mut().insert(id) {
            return Err(StartError::DeviceTaken { device: device.to_string() });
        }
        let driver = driver_name(&info);
        let key = rss::symmetric_key(info.hash_key_size);
        // PFs may have tags taken off for a VF, unasked, once it filters VLANs: a reload may bring the first of them.
        let is_vf = driver.contains("vf") || preflight::vf(Path::new("/sys"), device).is_some();
        let may_filter = is_vf && info.rx_offload_capa & sys::guideway_rx_vlan_filter != 0;
        let mut port = OpenPort::new(id, driver == "net_bonding", options.filters_vlans || may_filter, key);
        port.restore_tags(options.filters_vlans);
        let before = OpenBefore::look(&driver);
        let (queues, refusals) = bring_up(&port, device, options, &info, pool)?;
        let options = PortOptions { queues, ..*options };
        let rss = settle(id, device, &options, &info)?;
        if hands_over_whole_frames(id, &driver) {
            port.mark_whole();
        }
        port.admit(queues.rx.max(queues.tx));
        signals::listen(id);
        open_files::close_in_children();
        let (port, device) = (Arc::new(port), device.clone());
        let offloads = Offloads { udp_checksum: offloads.udp_checksum && options.udp_checksum, ..offloads };
        let pairs = (0..queues.rx.max(queues.tx))
            .map(|number| QueuePair::new(Arc::clone(&port), number, number < queues.rx, number < queues.tx));
        let pairs = pairs.collect();
        let interfaces = KernelInterfaces::of(&device, &info);
        let port = Port {
            own_mac: mac_of(id),
            drops: RefCell::new(KernelDrops::of(&driver, &interfaces, &before)),
            interfaces: RefCell::new(interfaces),
            forgotten: Cell::default(),
            port,
            device,
            driver,
            offloads,
            options,
            refusals,
            rss: RefCell::new(rss),
            pool,
            addresses: RefCell::default(),
            vlans: RefCell::default(),
            wanted_vlans: RefCell::default(),
            link_memory: Cell::default(),
            lost: Cell::new(None),
            not_sync: PhantomData,
        };
        port.listen(&[]);
        Ok((port, pairs))
    }
}

/// Bytes of the longest packet that a device takes, as ethdev works it out (`eth_dev_validate_mtu`): a driver that states
/// no overhead of its frames is taken to count an Ethernet header and a frame check sequence.
fn longest_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    const OVERHEAD: u32 = 14 + 4;
    let longest_packet = if info.max_mtu < u16::MAX && info.max_rx_pktlen > u32::from(info.max_mtu) {
        info.max_mtu.into()
    } else {
        info.max_rx_pktlen.saturating_sub(OVERHEAD)
    };
    info.max_mtu.min(u16::try_from(longest_packet).unwrap_or(u16::MAX))
}

/// True if every frame of a started port is known to lie in one mbuf, so that no header needs to be looked at for it.
fn hands_over_whole_frames(id: u16, driver: &str) -> bool {
    if ONE_MBUF_A_FRAME.contains(&driver) {
        return true;
    }
    let mut queue = sys::rte_eth_rxq_info::default();
    // SAFETY: the port is started and has a first queue, as its queues are alike; `queue` is written to before the call
    // returns, or not at all.
    let result = unsafe { sys::rte_eth_rx_queue_info_get(id, 0, &raw mut queue) };
    result == 0 && queue.scattered_rx == 0 && SAYS_IF_IT_CHAINS.contains(&driver)
}

fn driver_name(info: &sys::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return String::new();
    }
    // SAFETY: a driver states its name as a static string that ends in NUL.
    let name = unsafe { CStr::from_ptr(info.driver_name) };
    name.to_string_lossy().into_owned()
}

/// State of the link of a port that exists.
pub(super) fn link_of(id: u16) -> Link {
    let (mut up, mut speed_mbps) = (0, 0);
    // SAFETY: the port exists; both are written to before the call returns.
    let _ = unsafe { sys::guideway_link(id, &raw mut up, &raw mut speed_mbps) };
    Link { up: up != 0, speed_mbps }
}

/// MAC address of a port that exists; zero if its device has none.
pub(super) fn mac_of(id: u16) -> MacAddress {
    let mut address = sys::rte_ether_addr::default();
    // SAFETY: the port is open; `address` is written to before the call returns, or not at all.
    let _ = unsafe { sys::rte_eth_macaddr_get(id, &raw mut address) };
    MacAddress(address.addr_bytes)
}

impl<'eal> Port<'eal> {
    /// Notes that the driver is not to be asked any more, and what it said last.
    pub(super) fn lose(&self) {
        if self.lost.get().is_some() {
            return;
        }
        let device = self.device_stats();
        // Before the device closes the sockets that tell.
        self.drops.borrow_mut().keep();
        let last = LastKnown { mac: self.mac(), mtu: self.mtu(), stats: self.total(device) };
        self.lost.set(Some(last));
        let mut forgotten = self.forgotten.get();
        forgotten.lose(device);
        self.forgotten.set(forgotten);
    }

    /// Notes that the driver may be asked again, after a reset that has left the device with this spread of flows.
    pub(super) fn renew(&self, rss: Option<Rss>) {
        self.lost.set(None);
        let mut forgotten = self.forgotten.get();
        forgotten.renew(self.device_stats(), self.port.take_new());
        self.forgotten.set(forgotten);
        self.link_memory.set(LinkMemory::default());
        *self.rss.borrow_mut() = rss;
    }

    /// True if the driver may be asked: the port is open, and its last reset has succeeded.
    pub(super) fn is_usable(&self) -> bool {
        self.lost.get().is_none() && self.port.is_open()
    }

    /// Port that the queue pairs share, for another owner.
    pub(super) fn shared_port(&self) -> Arc<OpenPort<'eal>> {
        Arc::clone(&self.port)
    }

    /// Pool that received frames come from.
    pub(super) fn pool(&self) -> Mempool<'eal> {
        self.pool
    }

    /// VLANs that the device is to take.
    pub(super) fn wanted_vlans(&self) -> &RefCell<BTreeSet<u16>> {
        &self.wanted_vlans
    }

    /// Options that the port was opened with, as far as the device takes them.
    pub(super) fn options(&self) -> &PortOptions {
        &self.options
    }

    /// MAC address that the device had when it was opened.
    pub fn own_mac(&self) -> MacAddress {
        self.own_mac
    }

    /// Addresses that the port is told to take frames for.
    pub(super) fn addresses(&self) -> &RefCell<Addresses> {
        &self.addresses
    }

    /// Port that the queue pairs share.
    pub(super) fn open_port(&self) -> &OpenPort<'_> {
        &self.port
    }

    /// Device as configured.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number that DPDK has given the port.
    pub(super) fn id(&self) -> u16 {
        self.port.id()
    }

    /// VLANs that the device has taken.
    pub(super) fn taken_vlans(&self) -> &RefCell<BTreeSet<u16>> {
        &self.vlans
    }

    /// Name of DPDK's driver of the device.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Work that the device does by itself, of what the port was opened with, and the queues that it has.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Numbers of queues that the port runs with.
    pub fn queues(&self) -> QueueCounts {
        self.options.queues
    }

    /// Spread of flows over the receive queues, as the device said when it was last set up; None where it does none, or has one
    /// queue.
    pub fn rss(&self) -> Option<Rss> {
        self.rss.borrow().clone()
    }

    /// Attempts with more queues that the device refused.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// MAC address of the port; zero if the device has none. While the device is reset, the one before.
    pub fn mac(&self) -> MacAddress {
        self.lost.get().map_or_else(|| mac_of(self.port.id()), |last| last.mac)
    }

    /// Bytes of the longest packet that the port takes.
    pub fn mtu(&self) -> u16 {
        if let Some(last) = self.lost.get() {
            return last.mtu;
        }
        let mut mtu = DEFAULT_MTU;
        // SAFETY: the port is open; `mtu` is written to before the call returns, or not at all.
        let _ = unsafe { sys::rte_eth_dev_get_mtu(self.port.id(), &raw mut mtu) };
        mtu
    }

    /// State of the link, as the device knows it now; down while it is reset.
    pub fn link(&self) -> Link {
        if !self.is_usable() {
            return Link { up: false, speed_mbps: 0 };
        }
        let link = link_of(self.port.id());
        // Drivers of interfaces of the kernel may say that the link is up without a look.
        let interface_up = self.interface_state().is_none_or(|state| state == InterfaceState::Up);
        Link { up: link.up && interface_up, ..link }
    }

    /// Network interfaces of the kernel below the device.
    pub(super) fn interfaces(&self) -> &RefCell<KernelInterfaces> {
        &self.interfaces
    }

    /// Frames that the kernel has dropped below the device.
    pub(super) fn drops(&self) -> &RefCell<KernelDrops> {
        &self.drops
    }

    /// State of the kernel's network interfaces below the device, which is up with all of them; None where there are none.
    pub fn interface_state(&self) -> Option<InterfaceState> {
        self.interfaces.borrow().state()
    }

    /// State of the link, for whoever watches it at regular times: from what he sees, a device that has to be reset is found.
    pub fn watch_link(&self) -> Link {
        if !self.is_usable() {
            return self.link();
        }
        if self.drops.borrow().are_cut_off() {
            self.interfaces.borrow().miss();
        }
        let link = self.link();
        if self.interface_state() == Some(InterfaceState::Replaced) {
            signals::ask_for_reset(self.port.id());
        }
        let mut memory = self.link_memory.get();
        if memory.see(&self.driver, link.up) {
            signals::ask_for_reset(self.port.id());
        }
        self.link_memory.set(memory);
        link
    }

    /// Counters of the port since it was opened, over all resets of its device; while it is reset, those before.
    pub fn stats(&self) -> PortStats {
        self.lost.get().map_or_else(|| self.total(self.device_stats()), |last| last.stats)
    }

    /// Counters of the port, given those of its device.
    fn total(&self, device: PortStats) -> PortStats {
        let total = self.forgotten.get().total(device);
        PortStats { missed: total.missed + self.drops.borrow_mut().count(), ..total }
    }

    /// Counters of the device, as its driver has them.
    fn device_stats(&self) -> PortStats {
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: the port is open; `stats` is written to before the call returns, or not at all.
        let _ = unsafe { sys::rte_eth_stats_get(self.port.id(), &raw mut stats) };
        PortStats {
            received: stats.ipackets,
            sent: stats.opackets,
            missed: stats.imissed,
            rx_errors: stats.ierrors,
            tx_errors: stats.oerrors,
            no_mbuf: stats.rx_nombuf,
        }
    }

    /// Counters of the driver by its own names ("extended statistics"); none where it has none, while the device is reset, and
    /// once it is gone.
    pub fn xstats(&self) -> Vec<(String, u64)> {
        if !self.is_usable() {
            return Vec::new();
        }
        let id = self.port.id();
        // SAFETY: the port is open, and not being reset; nothing is written where there is no room, and the number of counters comes back.
        let count = unsafe { sys::rte_eth_xstats_get(id, ptr::null_mut(), 0) };
        let Ok(count) = u32::try_from(count) else { return Vec::new() };
        let mut names = vec![sys::rte_eth_xstat_name { name: [0; 64] }; count as usize];
        let mut values = vec![sys::rte_eth_xstat { id: 0, value: 0 }; count as usize];
        // SAFETY: as above, and there is room for `count` names.
        let named = unsafe { sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), count) };
        // SAFETY: as above, and there is room for `count` values.
        let valued = unsafe { sys::rte_eth_xstats_get(id, values.as_mut_ptr(), count) };
        // More than there was room for, or an error.
        let is_whole = |got: i32| u32::try_from(got).is_ok_and(|got| got <= count);
        if !is_whole(named) || !is_whole(valued) {
            return Vec::new();
        }
        values.truncate(valued as usize);
        let counter = |value: sys::rte_eth_xstat| {
            let name = names.get(usize::try_from(value.id).ok()?)?;
            let name: Vec<u8> =
                name.name.iter().map(|letter| *letter as u8).take_while(|letter| *letter != 0).collect();
            Some((String::from_utf8_lossy(&name).into_owned(), value.value))
        };
        values.into_iter().filter_map(counter).collect()
    }
}

impl fmt::Debug for Port<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("device", &self.device)
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_packet_is_the_one_that_ethdev_would_take() {
        let info =
            |max_mtu, max_rx_pktlen| sys::rte_eth_dev_info { max_mtu, max_rx_pktlen, ..Default::default() };
        // As DPDK 22.11's drivers say: af_packet, tap, af_xdp, pcap, and a driver that counts in both.
        for (max_mtu, max_rx_pktlen, longest) in [
            (u16::MAX, 1518, 1500),
            (u16::MAX, 1522, 1504),
            (3542, 3568, 3542),
            (u16::MAX, u32::MAX, u16::MAX),
            (9000, 1518, 1500),
        ] {
            assert_eq!(longest_mtu(&info(max_mtu, max_rx_pktlen)), longest, "{max_mtu} {max_rx_pktlen}");
        }
    }

    #[test]
    fn queues_are_as_many_as_the_workers_and_the_device_have_of_each_direction() {
        let vf: Device = "3b:02.0".parse().unwrap();
        let ring: Device = "net_ring0".parse().unwrap();
        for (rss, offered, workers, device, expected) in [
            (true, (4, 4), 7, &vf, (4, 4)),
            (true, (16, 8), 12, &vf, (12, 8)),
            (true, (4, 4), 1, &vf, (1, 1)),
            // Without RSS all frames are in the first queue, and each worker may send by its own.
            (false, (4, 4), 3, &vf, (1, 3)),
            (false, (4, 4), 3, &ring, (3, 3)),
            (false, (1, 2), 2, &ring, (1, 2)),
            (false, (0, 0), 2, &ring, (1, 1)),
        ] {
            let offloads = Offloads { rss, udp_checksum: false, rx_queues: offered.0, tx_queues: offered.1 };
            let counts = offloads.queues_for(workers, device);
            assert_eq!((counts.rx, counts.tx), expected, "{offloads:?} {workers} {device}");
        }
    }
}
