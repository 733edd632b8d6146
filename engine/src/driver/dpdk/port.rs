//! DPDK ports: each opened once, and stopped and closed when the last of its queues is gone.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_dpdk_sys as sys;
use rustix::io::Errno;

use super::open_port::OpenPort;
use super::{Eal, Mempool, PortOptions, QueuePair, StartError, dpdk_log};
use crate::driver::device::Device;

/// Bytes of a frame beyond the MTU: Ethernet header and two VLAN tags.
const LINK_HEADERS: u32 = 14 + 2 * 4;

/// MTU of a port for which none is configured.
const DEFAULT_MTU: u16 = 1500;

/// Result of a call to a driver that has no such function; its device then takes what it takes.
const NOT_SUPPORTED: i32 = -Errno::NOTSUP.raw_os_error();

/// Drivers that receive each frame into one mbuf: nothing in them chains a second one to it, whatever they are asked for.
///
/// Other drivers have each frame's header looked at: `net_pcap` chains mbufs for a frame that exceeds one, without being
/// asked, and so may others.
const ONE_MBUF_A_FRAME: [&str; 2] = ["net_null", "net_af_packet"];

/// Control thread's end of an open port.
pub struct Port<'eal> {
    port: Arc<OpenPort<'eal>>,
    device: Device,
    driver: String,
    offloads: Offloads,
    /// VLANs that the device has taken.
    vlans: RefCell<BTreeSet<u16>>,
    /// DPDK does not promise that two threads may ask at once.
    not_sync: PhantomData<Cell<()>>,
}

/// Work that a device does by itself, and the queues that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// True if the device spreads flows over its queues by a hash of their addresses and L4 ports (RSS). A virtual
    /// device without it spreads, if at all, in its own way.
    pub rss: bool,
    /// True if the device computes the checksums of UDP headers. That of an IPv4 header is no work worth handing on:
    /// a tunnel's differs from a template's in five words.
    pub udp_checksum: bool,
    /// Number of queue pairs that the device can have.
    pub queues: u16,
}

impl Offloads {
    /// True if each of `workers` can have queues of its own, and its share of the flows on them.
    ///
    /// If not, one worker polls the device for all ([`crate::driver::steering`]). A virtual device with several
    /// queues is taken to spread in its own way; hardware without RSS puts everything into the first.
    pub fn serve(&self, workers: u16, device: &Device) -> bool {
        let spreads = self.rss || matches!(device, Device::Virtual(_));
        workers <= 1 || (workers <= self.queues && spreads)
    }
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// True if the link is up.
    pub up: bool,
    /// Speed of the link in Mbit/s; [`u32::MAX`] if the device does not know it.
    pub speed_mbps: u32,
}

/// Counters of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets dropped by the device because no worker took them in time.
    pub missed: u64,
    /// Packets received with errors.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets lost because the mempool was empty.
    pub no_mbuf: u64,
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

    /// Opens and starts a port, whose received frames come from `pool`.
    ///
    /// Returns the control thread's end and one queue pair for each worker.
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
        if options.queues > offloads.queues {
            return Err(StartError::TooFewQueues {
                device: device.to_string(),
                asked: options.queues,
                offered: offloads.queues,
            });
        }
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
        dpdk_log::forget();
        let driver = driver_name(&info);
        let mut port = OpenPort::new(id, !ONE_MBUF_A_FRAME.contains(&driver.as_str()));
        configure(id, device, options, &offloads, &info)?;
        set_up_queues(id, device, options, &info, pool)?;
        start(&mut port, device, options)?;
        let port = Arc::new(port);
        let queues = (0..options.queues).map(|queue| QueuePair::new(Arc::clone(&port), queue)).collect();
        let (device, vlans) = (device.clone(), RefCell::default());
        Ok((Port { port, device, driver, offloads, vlans, not_sync: PhantomData }, queues))
    }
}

pub(super) fn device_info(id: u16, device: &Device) -> Result<sys::rte_eth_dev_info, StartError> {
    let mut info = sys::rte_eth_dev_info::default();
    // SAFETY: EAL runs, as whoever has the id shows; `info` is written to before the call returns.
    let result = unsafe { sys::rte_eth_dev_info_get(id, &raw mut info) };
    check(result, device, "state its limits")?;
    Ok(info)
}

fn offloads_of(info: &sys::rte_eth_dev_info) -> Offloads {
    Offloads {
        rss: info.flow_type_rss_offloads & sys::guideway_rss_flows != 0,
        udp_checksum: info.tx_offload_capa & sys::guideway_tx_udp_checksum != 0,
        queues: info.max_rx_queues.min(info.max_tx_queues),
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

fn driver_name(info: &sys::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return String::new();
    }
    // SAFETY: a driver states its name as a static string that ends in NUL.
    let name = unsafe { CStr::from_ptr(info.driver_name) };
    name.to_string_lossy().into_owned()
}

fn configure(
    id: u16,
    device: &Device,
    options: &PortOptions,
    offloads: &Offloads,
    info: &sys::rte_eth_dev_info,
) -> Result<(), StartError> {
    let mut conf = sys::rte_eth_conf::default();
    if offloads.udp_checksum {
        // Where a driver can, it does so for the mbufs that ask for it alone.
        conf.txmode.offloads |= sys::guideway_tx_udp_checksum;
    }
    if options.filters_vlans {
        conf.rxmode.offloads |= info.rx_offload_capa & sys::guideway_rx_vlan_filter;
    }
    conf.rxmode.mtu = u32::from(options.mtu.unwrap_or(0));
    let mut key = symmetric_rss_key(info.hash_key_size);
    if offloads.rss && options.queues > 1 {
        conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & sys::guideway_rss_flows;
        if !key.is_empty() {
            conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
            conf.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size;
        }
    }
    // SAFETY: the port exists and is not started; `conf` and the key are read before the call returns.
    let result = unsafe { sys::rte_eth_dev_configure(id, options.queues, options.queues, &raw const conf) };
    check(result, device, "be configured")
}

/// Key by which a device hashes both directions of a flow alike, and so puts them into one queue; empty for a device that
/// states no length of its key, and keeps the driver's own.
//
// Woo and Park, "Scalable TCP session monitoring with symmetric receive-side scaling" (2012): Toeplitz hashing is
// symmetric under a key that repeats every 16 bits, the length of a port and half that of an address.
fn symmetric_rss_key(len: u8) -> Vec<u8> {
    [0x6d, 0x5a].into_iter().cycle().take(len.into()).collect()
}

fn set_up_queues(
    id: u16,
    device: &Device,
    options: &PortOptions,
    info: &sys::rte_eth_dev_info,
    pool: Mempool<'_>,
) -> Result<(), StartError> {
    let (mut rx, mut tx) = (options.rx_descriptors, options.tx_descriptors);
    // SAFETY: the port is configured; both numbers are read and written before the call returns.
    let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx, &raw mut tx) };
    check(result, device, "have so many descriptors")?;
    // SAFETY: the port exists; a negative number says that the node is unknown.
    let node = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
    for queue in 0..options.queues {
        // SAFETY: the port is configured with more than `queue` queues and is not started; the settings are the
        // driver's own and are read before the call returns; the pool lives as long as EAL, longer than the port.
        let result = unsafe {
            sys::rte_eth_rx_queue_setup(id, queue, rx, node, &raw const info.default_rxconf, pool.as_ptr())
        };
        check(result, device, "set up its receive queues")?;
        // SAFETY: as above.
        let result =
            unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx, node, &raw const info.default_txconf) };
        check(result, device, "set up its transmit queues")?;
    }
    Ok(())
}

fn start(port: &mut OpenPort<'_>, device: &Device, options: &PortOptions) -> Result<(), StartError> {
    // SAFETY: the port is configured, its queues are set up, and it is not started.
    let result = unsafe { sys::rte_eth_dev_start(port.id()) };
    check(result, device, "start")?;
    port.mark_started();
    // IPv6 neighbours are asked for by multicast (RFC 4861, section 7.2.2).
    // SAFETY: the port exists.
    let result = unsafe { sys::rte_eth_allmulticast_enable(port.id()) };
    if result != NOT_SUPPORTED {
        check(result, device, "take multicast frames")?;
    }
    if options.promiscuous {
        // SAFETY: the port exists.
        let result = unsafe { sys::rte_eth_promiscuous_enable(port.id()) };
        check(result, device, "be promiscuous")?;
    }
    Ok(())
}

fn check(result: i32, device: &Device, step: &'static str) -> Result<(), StartError> {
    if result >= 0 {
        return Ok(());
    }
    Err(StartError::PortRefused { device: device.to_string(), step, message: dpdk_log::message(result) })
}

impl Port<'_> {
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

    /// Work that the device does by itself, and the queues that it has.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// MAC address of the port; zero if the device has none.
    pub fn mac(&self) -> MacAddress {
        let mut address = sys::rte_ether_addr::default();
        // SAFETY: the port is open; `address` is written to before the call returns, or not at all.
        let _ = unsafe { sys::rte_eth_macaddr_get(self.port.id(), &raw mut address) };
        MacAddress(address.addr_bytes)
    }

    /// Bytes of the longest packet that the port takes.
    pub fn mtu(&self) -> u16 {
        let mut mtu = DEFAULT_MTU;
        // SAFETY: the port is open; `mtu` is written to before the call returns, or not at all.
        let _ = unsafe { sys::rte_eth_dev_get_mtu(self.port.id(), &raw mut mtu) };
        mtu
    }

    /// State of the link, as the device knows it now.
    pub fn link(&self) -> Link {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: the port is open; `link` is written to before the call returns, or not at all.
        let _ = unsafe { sys::rte_eth_link_get_nowait(self.port.id(), &raw mut link) };
        Link { up: u32::from(link.link_status()) == sys::RTE_ETH_LINK_UP, speed_mbps: link.link_speed }
    }

    /// Counters of the device since the port was opened.
    pub fn stats(&self) -> PortStats {
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

    /// Toeplitz hash as devices compute it.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], index: usize| bytes[index / 8] >> (7 - index % 8) & 1;
        let window = |start: usize| (0..32).fold(0, |word, n| word << 1 | u32::from(bit(key, start + n)));
        (0..input.len() * 8)
            .filter(|index| bit(input, *index) == 1)
            .fold(0, |hash, index| hash ^ window(index))
    }

    #[test]
    fn both_directions_of_a_flow_fall_into_one_queue_and_flows_into_several() {
        for (address_len, key_len) in [(4, 40), (16, 40), (16, 52)] {
            let key = symmetric_rss_key(key_len);
            let mut hashes = BTreeSet::new();
            for number in 0..64 {
                let (here, there) = (vec![number; address_len], vec![200 - number; address_len]);
                let there = [&there[1..], &[7 ^ number]].concat();
                let (own, other) = ([0x9c, number], [0, 80]);
                let hash = toeplitz(&key, &[&here[..], &there, &own, &other].concat());
                assert_eq!(hash, toeplitz(&key, &[&there[..], &here, &other, &own].concat()));
                let by_addresses = toeplitz(&key, &[&here[..], &there].concat());
                assert_eq!(by_addresses, toeplitz(&key, &[&there[..], &here].concat()), "fragments");
                hashes.insert(hash % 4);
            }
            assert_eq!(hashes.len(), 4);
        }
        assert!(symmetric_rss_key(0).is_empty());
    }

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
    fn hardware_without_rss_serves_one_worker_and_a_virtual_device_as_many_as_it_has_queues() {
        let vf: Device = "3b:02.0".parse().unwrap();
        let ring: Device = "net_ring0".parse().unwrap();
        let with = |rss, queues| Offloads { rss, udp_checksum: false, queues };
        for (offloads, workers, device, served) in [
            (with(false, 4), 1, &vf, true),
            (with(false, 4), 2, &vf, false),
            (with(true, 4), 4, &vf, true),
            (with(true, 4), 5, &vf, false),
            (with(false, 4), 4, &ring, true),
            (with(false, 1), 2, &ring, false),
        ] {
            assert_eq!(offloads.serve(workers, device), served, "{offloads:?} {workers} {device}");
        }
    }
}
