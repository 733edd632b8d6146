//! The configured ports, opened: the control thread's ends, and the queues of each worker.

use std::collections::BTreeSet;

use guideway_engine::driver::device::AfPacketRing;
use guideway_engine::driver::dpdk::{
    DpdkMbuf, Eal, Mempool, MempoolOptions, Port, PortOptions, QueuePair, StartError,
};
use guideway_engine::driver::loopback::LoopbackQueues;
use guideway_engine::driver::steering::{Followers, followers};
use guideway_model::config::Config;

use crate::api::view;
use crate::run::appliance::Nic;
use crate::run::ports::Ports;
use crate::run::worker::RingSizes;

/// Bytes that a buffer holds beside the MTU: an Ethernet header and two VLAN tags.
const LINK_HEADERS: u16 = 22;

/// A worker's queues of one port, before it has attached them to its thread.
pub(super) enum Queues<'eal> {
    /// A pair of queues that the device keeps for this worker.
    Own(QueuePair<'eal>),
    /// The device's one pair, which this worker polls for all.
    Distributor(QueuePair<'eal>, Followers<DpdkMbuf<'eal>>),
    /// A ring by which another worker hands over this one's share.
    Follower(LoopbackQueues<DpdkMbuf<'eal>>),
}

/// The control thread's ends of all ports.
pub(super) struct LivePorts<'eal> {
    ports: Vec<(String, Port<'eal>, u16)>,
    pool: Mempool<'eal>,
}

impl<'eal> LivePorts<'eal> {
    /// Opens every port of the configuration; returns the queues of each worker too, in the order of the ports.
    pub(super) fn open(
        eal: &'eal Eal,
        config: &Config,
        workers: usize,
    ) -> Result<(Self, Vec<Vec<Queues<'eal>>>), StartError> {
        let mut pairs_of = Vec::with_capacity(config.ports.len());
        for port in &config.ports {
            let serves = eal.offloads(&port.device)?.serve(workers as u16, &port.device);
            pairs_of.push(if serves { workers as u16 } else { 1 });
        }
        let pool = eal.mempool("frames", &pool_options(config, &pairs_of, workers))?;
        let mut ports = Vec::with_capacity(config.ports.len());
        let mut queues: Vec<Vec<Queues<'eal>>> = (0..workers).map(|_| Vec::new()).collect();
        for (port, pairs) in config.ports.iter().zip(pairs_of) {
            let options = PortOptions {
                queues: pairs,
                rx_descriptors: port.rx_descriptors,
                tx_descriptors: port.tx_descriptors,
                mtu: Some(port.mtu),
                promiscuous: port.promiscuous,
                filters_vlans: config.links().any(|link| link.port == ports.len() && link.vlan.is_some()),
            };
            let (opened, own) = eal.open(&port.device, &options, pool)?;
            if own.len() == workers {
                queues.iter_mut().zip(own).for_each(|(worker, pair)| worker.push(Queues::Own(pair)));
            } else {
                tracing::info!(
                    port = port.name,
                    "device does not spread flows over {workers} queues: worker 0 polls it for all"
                );
                share_out(&mut queues, own, port.rx_descriptors);
            }
            ports.push((port.name.clone(), opened, pairs));
        }
        Ok((Self { ports, pool }, queues))
    }

    /// MAC address and offloads of each port's device.
    pub(super) fn nics(&self) -> Vec<Nic> {
        let nic =
            |port: &Port<'eal>| Nic { mac: port.mac(), offloads_udp_checksum: port.offloads().udp_checksum };
        self.ports.iter().map(|(_, port, _)| nic(port)).collect()
    }
}

/// Gives the one pair of a device to the first worker, which hands the others their share.
fn share_out<'eal>(queues: &mut [Vec<Queues<'eal>>], own: Vec<QueuePair<'eal>>, descriptors: u16) {
    let (rings, theirs) = followers(queues.len() - 1, usize::from(descriptors));
    let distributor = own.into_iter().next().map(|pair| Queues::Distributor(pair, rings));
    let theirs = theirs.into_iter().map(Queues::Follower);
    queues.iter_mut().zip(distributor.into_iter().chain(theirs)).for_each(|(worker, own)| worker.push(own));
}

/// A pool of as many frames as queues, rings and workers may hold at once.
fn pool_options(config: &Config, pairs_of: &[u16], workers: usize) -> MempoolOptions {
    let largest =
        |descriptors: fn(&guideway_model::config::Port) -> u16| config.ports.iter().map(descriptors).max();
    let deepest = PortOptions {
        rx_descriptors: largest(|port| port.rx_descriptors).unwrap_or_default(),
        tx_descriptors: largest(|port| port.tx_descriptors).unwrap_or_default(),
        ..PortOptions::default()
    };
    // Where one worker polls for the others, the rings between them hold as much as queues of their own would.
    let pairs: u32 = pairs_of.iter().map(|_| workers as u32).sum();
    let host_frames = 2 * (RingSizes::LIVE.host * workers) as u32;
    let computed = MempoolOptions::holding(pairs, &deepest, workers as u32, host_frames);
    let longest = config.ports.iter().map(buffer_len).max().unwrap_or_default();
    MempoolOptions {
        mbufs: config.engine.mbufs.unwrap_or(computed.mbufs),
        data_room: computed.data_room.max(longest.next_multiple_of(64)),
        ..computed
    }
}

/// Bytes of a buffer for a port's frames: as long as its MTU allows, and as long as the driver of its device demands.
fn buffer_len(port: &guideway_model::config::Port) -> u16 {
    let ring = AfPacketRing::of(&port.device).map_or(0, |ring| ring.mbuf_room());
    (port.mtu + LINK_HEADERS).max(u16::try_from(ring).unwrap_or(u16::MAX - 63))
}

impl<'eal> Ports for LivePorts<'eal> {
    type Frame = DpdkMbuf<'eal>;

    fn frame(&self, bytes: &[u8]) -> Option<DpdkMbuf<'eal>> {
        self.pool.frame(bytes)
    }

    fn states(&self) -> Vec<view::Port> {
        let state = |(name, port, queues): &(String, Port<'eal>, u16)| {
            let link = port.link();
            view::Port {
                name: name.clone(),
                device: port.device().to_string(),
                driver: port.driver().to_owned(),
                mac: port.mac().to_string(),
                link_up: link.up,
                speed_mbps: (link.speed_mbps != u32::MAX).then_some(link.speed_mbps),
                mtu: port.mtu(),
                rss: port.offloads().rss && *queues > 1,
                queues: *queues,
            }
        };
        self.ports.iter().map(state).collect()
    }

    fn take_vlans(&self, port: usize, vlans: &BTreeSet<u16>) -> Option<String> {
        self.ports[port].1.take_vlans(vlans)
    }

    fn stats(&self) -> Vec<view::PortStats> {
        let stats = |(name, port, _): &(String, Port<'eal>, u16)| {
            let counted = port.stats();
            view::PortStats {
                name: name.clone(),
                received: counted.received,
                sent: counted.sent,
                missed: counted.missed,
                rx_errors: counted.rx_errors,
                tx_errors: counted.tx_errors,
                no_mbuf: counted.no_mbuf,
            }
        };
        self.ports.iter().map(stats).collect()
    }
}
