//! Setting up of a port: configuration, queues and start, with fewer queues where the device refuses those asked for.
#![allow(unsafe_code)]

use std::path::Path;

use guideway_dpdk_sys as sys;

use super::ethdev::{DEFAULT_MTU, check, device_info, offloads_of};
use super::open_port::OpenPort;
use super::queue_counts::Refused;
use super::{Mempool, PortOptions, QueueCounts, Refusal, Rss, StartError, dpdk_log, preflight, rss};
use crate::driver::device::Device;

/// Sets up a port with the queues asked for, or with fewer where the device refuses these; returns how many it has, and the
/// attempts that were refused.
pub(super) fn bring_up(
    port: &OpenPort<'_>,
    device: &Device,
    options: &PortOptions,
    info: &sys::rte_eth_dev_info,
    pool: Mempool<'_>,
) -> Result<(QueueCounts, Vec<Refusal>), StartError> {
    let offered = QueueCounts { rx: info.max_rx_queues, tx: info.max_tx_queues };
    let mut options = PortOptions { queues: options.queues.at_most(offered), ..*options };
    let mut refusals = Vec::new();
    loop {
        dpdk_log::forget();
        let (refused, error) = match set_up(port, device, &options, info, pool) {
            Ok(()) => return Ok((options.queues, refusals)),
            Err(refusal) => refusal,
        };
        // A refusal with any number of queues has another cause, which one of the attempts tells.
        let Some(fewer) = options.queues.fewer(refused) else { return Err(after(error, &refusals)) };
        let StartError::PortRefused { step, message, .. } = error else { return Err(error) };
        refusals.push(Refusal { counts: options.queues, step, message });
        options.queues = fewer;
    }
}

/// Refusal of the last attempt, with those of the attempts before it.
fn after(error: StartError, refusals: &[Refusal]) -> StartError {
    match error {
        StartError::PortRefused { device, step, message } if !refusals.is_empty() => {
            let before: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
            StartError::PortRefused { device, step, message: format!("{message}; {}", before.join("; ")) }
        }
        error => error,
    }
}

/// Configures a port that does not run, with its queues, and starts it; an error says which of the queues may be too many.
pub(super) fn set_up(
    port: &OpenPort<'_>,
    device: &Device,
    options: &PortOptions,
    info: &sys::rte_eth_dev_info,
    pool: Mempool<'_>,
) -> Result<(), (Refused, StartError)> {
    let either = |error| (Refused::Either, error);
    configure(port, device, options, info).map_err(either)?;
    set_up_queues(port.id(), device, options, info, pool)?;
    start(port.id(), device, options).map_err(either)
}

/// Has a started port take what is not to its own MAC address, if it is to, and spread flows over its queues; returns how it
/// does that, if it does. `info` is what the device stated when it was configured.
pub(super) fn settle(
    id: u16,
    device: &Device,
    options: &PortOptions,
    info: &sys::rte_eth_dev_info,
) -> Result<Option<Rss>, StartError> {
    if options.promiscuous {
        // SAFETY: the port exists.
        let result = unsafe { sys::rte_eth_promiscuous_enable(id) };
        check(result, device, "be promiscuous")?;
    }
    let types = rss::types(info.flow_type_rss_offloads);
    if types == 0 || options.queues.rx == 1 {
        return Ok(None);
    }
    // Some drivers know their table's size once they are started.
    Ok(Some(rss::settle(id, types, &device_info(id, device)?, options.queues.rx)))
}

fn configure(
    port: &OpenPort<'_>,
    device: &Device,
    options: &PortOptions,
    info: &sys::rte_eth_dev_info,
) -> Result<(), StartError> {
    let offloads = offloads_of(info);
    let mut conf = sys::rte_eth_conf::default();
    // No other offload: `MBUF_FAST_FREE` frees all mbufs to the pool of the first, and each port may send another's.
    if offloads.udp_checksum && options.udp_checksum {
        // Where a driver can, it does so for the mbufs that ask for it alone.
        conf.txmode.offloads |= sys::guideway_tx_udp_checksum;
    }
    let flags = device_flags(info);
    // Drivers without an interrupt for the link's state refuse to be configured with it.
    conf.intr_conf.set_lsc((flags & sys::guideway_dev_signals_link != 0).into());
    conf.intr_conf.set_rmv((flags & sys::guideway_dev_signals_removal != 0).into());
    if options.filters_vlans {
        conf.rxmode.offloads |= info.rx_offload_capa & sys::guideway_rx_vlan_filter;
    }
    conf.rxmode.mtu = u32::from(options.mtu.unwrap_or(0));
    if offloads.rss && options.queues.rx > 1 {
        conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss::types(info.flow_type_rss_offloads);
        let key = port.rss_key();
        if !key.is_empty() {
            conf.rx_adv_conf.rss_conf.rss_key = key.as_ptr().cast_mut();
            // The port's own: a device may state another length after a reset, and must not read beyond the key.
            conf.rx_adv_conf.rss_conf.rss_key_len = key.len() as u8;
        }
    }
    // SAFETY: the port exists and is not started; `conf` is copied before the call returns. The key is read by then or at the
    // start, by the pointer in the copy, and lives until the port is closed; nobody writes to it.
    let result = unsafe {
        sys::rte_eth_dev_configure(port.id(), options.queues.rx, options.queues.tx, &raw const conf)
    };
    check_with_mtu(result, device, "be configured", options)
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

/// Flags of a driver for its device (`RTE_ETH_DEV_…`).
fn device_flags(info: &sys::rte_eth_dev_info) -> u32 {
    if info.dev_flags.is_null() {
        return 0;
    }
    // SAFETY: ethdev states where the port keeps its flags, which live as long as the port; nobody writes them now.
    unsafe { *info.dev_flags }
}

fn start(id: u16, device: &Device, options: &PortOptions) -> Result<(), StartError> {
    // SAFETY: the port is configured, its queues are set up, and it is not started.
    let result = unsafe { sys::rte_eth_dev_start(id) };
    check_with_mtu(result, device, "start", options)
}

/// Checks a step that an MTU may fail in: drivers hear of a VF's PF only there, and say so in their logs alone.
fn check_with_mtu(
    result: i32,
    device: &Device,
    step: &'static str,
    options: &PortOptions,
) -> Result<(), StartError> {
    match check(result, device, step) {
        Err(StartError::PortRefused { device: name, message, .. }) if is_about_frame_length(&message) => {
            let pf = preflight::pf_mtu(Path::new("/sys"), device);
            let mtu = options.mtu.unwrap_or(DEFAULT_MTU);
            Err(StartError::MtuRefused { device: name, mtu, pf, message })
        }
        result => result,
    }
}

/// True for the words in which drivers refuse a length of frames.
// `ixgbevf_dev_rx_init`: "Set max packet length to %d failed."; `rte_eth_dev_configure`: "Invalid MTU"; `iavf_init_rxq`:
// "maximum packet length must be larger than …".
fn is_about_frame_length(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["mtu", "packet length", "frame size", "max_rx_pkt"].iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_refuses_any_number_of_queues_is_told_with_the_cause_of_each_attempt() {
        let refusal = |rx, step, message: &str| Refusal {
            counts: QueueCounts { rx, tx: 1 },
            step,
            message: message.into(),
        };
        let last = StartError::PortRefused { device: "d".into(), step: "start", message: "m".into() };
        assert_eq!(after(last.clone(), &[]), last);
        let all =
            after(last, &[refusal(4, "be configured", "too many"), refusal(2, "start", "n")]).to_string();
        assert!(
            all.starts_with(
                "`d` refuses to start (m; with 4 receive and 1 transmit queues the device refuses to be configured (too \
                 many); with 2 receive and 1 transmit queues the device refuses to start (n)): "
            ),
            "{all}"
        );
    }

    #[test]
    fn a_refused_length_of_frames_is_told_from_other_refusals() {
        for (message, is_length) in [
            ("ixgbevf_dev_rx_init(): Set max packet length to 9018 failed.", true),
            ("Ethdev port_id=0 MTU (9000) > max value (1500)", true),
            ("iavf_init_rxq(): maximum packet length must be larger than 60 and smaller than 9728", true),
            ("Unable to allocate memory for queue", false),
        ] {
            assert_eq!(is_about_frame_length(message), is_length, "{message}");
        }
        let refused = |pf| StartError::MtuRefused { device: "d".into(), mtu: 9000, pf, message: "m".into() };
        assert_eq!(
            refused(Some(("ens1f0".into(), 1500))).to_string(),
            "`d` refuses its `mtu` of 9000 (m): its PF ens1f0 has an MTU of 1500; raise that (`ip link set ens1f0 mtu 9000`), \
             or lower `mtu`"
        );
        assert!(
            refused(None).to_string().ends_with(": lower `mtu`, or raise that of whoever lends the device")
        );
    }
}
