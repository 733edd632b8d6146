//! DPDK ports: each opened once, and stopped and closed when the last of its queues is gone.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_dpdk_sys as sys;
use rustix::io::Errno;

use super::open_port::OpenPort;
use super::queue_counts::Refused;
use super::{Eal, Mempool, PortOptions, QueueCounts, QueuePair, Refusal, Rss, StartError, dpdk_log, rss};
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
    queues: QueueCounts,
    refusals: Vec<Refusal>,
    rss: Option<Rss>,
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
    /// Number of receive queues that the device states.
    pub rx_queues: u16,
    /// Number of transmit queues that the device states.
    pub tx_queues: u16,
}

impl Offloads {
    /// Numbers of queues for so many workers: as many as there are of each direction.
    ///
    /// A virtual device with several receive queues is taken to spread flows over them in its own way; hardware without RSS
    /// puts everything into the first.
    pub fn queues_for(&self, workers: u16, device: &Device) -> QueueCounts {
        let spreads = self.rss || matches!(device, Device::Virtual(_));
        let rx = if spreads { self.rx_queues } else { 1 };
        QueueCounts { rx, tx: self.tx_queues }.at_most(QueueCounts { rx: workers, tx: workers })
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
        let mut port = OpenPort::new(id, !ONE_MBUF_A_FRAME.contains(&driver.as_str()), key);
        let (queues, refusals) = bring_up(&mut port, device, options, &offloads, &info, pool)?;
        take_frames(&port, device, options)?;
        let rss = match offloads.rss && queues.rx > 1 {
            // Some drivers know their table's size once they are started.
            true => Some(rss::settle(
                id,
                rss::types(info.flow_type_rss_offloads),
                &device_info(id, device)?,
                queues.rx,
            )),
            false => None,
        };
        let port = Arc::new(port);
        let pairs = (0..queues.rx.max(queues.tx)).map(|queue| {
            let of = |count: u16| (queue < count).then_some(queue);
            QueuePair::new(Arc::clone(&port), of(queues.rx), of(queues.tx))
        });
        let pairs = pairs.collect();
        let device = device.clone();
        Ok((Port { port, device, driver, offloads, queues, refusals, rss, not_sync: PhantomData }, pairs))
    }
}

/// Configures and starts a port with the queues asked for, or with fewer where the device refuses these; returns how many
/// it has, and the attempts that were refused.
fn bring_up(
    port: &mut OpenPort<'_>,
    device: &Device,
    options: &PortOptions,
    offloads: &Offloads,
    info: &sys::rte_eth_dev_info,
    pool: Mempool<'_>,
) -> Result<(QueueCounts, Vec<Refusal>), StartError> {
    let offered = QueueCounts { rx: offloads.rx_queues, tx: offloads.tx_queues };
    let mut options = PortOptions { queues: options.queues.at_most(offered), ..*options };
    let mut refusals = Vec::new();
    loop {
        dpdk_log::forget();
        let attempt = configure(port, device, &options, offloads, info)
            .map_err(|error| (Refused::Either, error))
            .and_then(|()| set_up_queues(port.id(), device, &options, info, pool))
            .and_then(|()| start(port, device).map_err(|error| (Refused::Either, error)));
        let (refused, error) = match attempt {
            Ok(()) => return Ok((options.queues, refusals)),
            Err(refusal) => refusal,
        };
        // What is refused with any number of queues has another cause, which the last attempt tells.
        let Some(fewer) = options.queues.fewer(refused) else { return Err(error) };
        let StartError::PortRefused { step, message, .. } = error else { return Err(error) };
        refusals.push(Refusal { counts: options.queues, step, message });
        options.queues = fewer;
    }
}

fn device_info(id: u16, device: &Device) -> Result<sys::rte_eth_dev_info, StartError> {
    let mut info = sys::rte_eth_dev_info::default();
    // SAFETY: EAL runs, as whoever has the id shows; `info` is written to before the call returns.
    let result = unsafe { sys::rte_eth_dev_info_get(id, &raw mut info) };
    check(result, device, "state its limits")?;
    Ok(info)
}

fn offloads_of(info: &sys::rte_eth_dev_info) -> Offloads {
    Offloads {
        rss: rss::types(info.flow_type_rss_offloads) != 0,
        udp_checksum: info.tx_offload_capa & sys::guideway_tx_udp_checksum != 0,
        rx_queues: info.max_rx_queues,
        tx_queues: info.max_tx_queues,
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
    port: &mut OpenPort<'_>,
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
    conf.rxmode.mtu = u32::from(options.mtu.unwrap_or(0));
    if offloads.rss && options.queues.rx > 1 {
        conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss::types(info.flow_type_rss_offloads);
        let key = port.rss_key();
        if !key.is_empty() {
            conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
            conf.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size;
        }
    }
    // SAFETY: the port exists and is not started; `conf` is copied before the call returns. The key is read by then or at the
    // start, by the pointer in the copy, and lives until the port is closed.
    let result = unsafe {
        sys::rte_eth_dev_configure(port.id(), options.queues.rx, options.queues.tx, &raw const conf)
    };
    check(result, device, "be configured")
}

/// Sets up the queues of both directions; an error says which of them the device refused.
fn set_up_queues(
    id: u16,
    device: &Device,
    options: &PortOptions,
    info: &sys::rte_eth_dev_info,
    pool: Mempool<'_>,
) -> Result<(), (Refused, StartError)> {
    let (mut rx, mut tx) = (options.rx_descriptors, options.tx_descriptors);
    // SAFETY: the port is configured; both numbers are read and written before the call returns.
    let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx, &raw mut tx) };
    check(result, device, "have so many descriptors").map_err(|error| (Refused::Either, error))?;
    // SAFETY: the port exists; a negative number says that the node is unknown.
    let node = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
    for queue in 0..options.queues.rx {
        // SAFETY: the port is configured with more than `queue` queues and is not started; the settings are the
        // driver's own and are read before the call returns; the pool lives as long as EAL, longer than the port.
        let result = unsafe {
            sys::rte_eth_rx_queue_setup(id, queue, rx, node, &raw const info.default_rxconf, pool.as_ptr())
        };
        check(result, device, "set up its receive queues").map_err(|error| (Refused::Receive, error))?;
    }
    for queue in 0..options.queues.tx {
        // SAFETY: as above.
        let result =
            unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx, node, &raw const info.default_txconf) };
        check(result, device, "set up its transmit queues").map_err(|error| (Refused::Transmit, error))?;
    }
    Ok(())
}

fn start(port: &mut OpenPort<'_>, device: &Device) -> Result<(), StartError> {
    // SAFETY: the port is configured, its queues are set up, and it is not started.
    let result = unsafe { sys::rte_eth_dev_start(port.id()) };
    check(result, device, "start")?;
    port.mark_started();
    Ok(())
}

/// Makes a started port take the frames that are not to its own MAC address.
fn take_frames(port: &OpenPort<'_>, device: &Device, options: &PortOptions) -> Result<(), StartError> {
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

    /// Name of DPDK's driver of the device.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Work that the device does by itself, and the queues that it has.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Numbers of queues that the port runs with.
    pub fn queues(&self) -> QueueCounts {
        self.queues
    }

    /// Spread of flows over the receive queues, as the device says that it does it; None where it does not, or has one queue.
    pub fn rss(&self) -> Option<&Rss> {
        self.rss.as_ref()
    }

    /// Attempts with more queues that the device refused.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
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
