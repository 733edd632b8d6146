//! The configured ports, opened: the control thread's ends, and the queues of each worker.

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::device::AfPacketRing;
use guideway_engine::driver::dpdk::{
    DpdkMbuf, Eal, Link, Mempool, MempoolOptions, Port, PortOptions, QueuePair, Signals, StartError,
};
use guideway_engine::driver::loopback::LoopbackQueues;
use guideway_engine::driver::steering::{Followers, followers};
use guideway_model::config::Config;

use crate::api::view;
use crate::run::appliance::{Nic, needs_udp_checksum};
use crate::run::ports::{PortLink, PortSignals, Ports};
use crate::run::worker::RingSizes;

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
        let udp_checksum = needs_udp_checksum(config);
        let mut ports = Vec::with_capacity(config.ports.len());
        let mut queues: Vec<Vec<Queues<'eal>>> = (0..workers).map(|_| Vec::new()).collect();
        for (index, (port, pairs)) in config.ports.iter().zip(pairs_of).enumerate() {
            let options = PortOptions {
                queues: pairs,
                rx_descriptors: port.rx_descriptors,
                tx_descriptors: port.tx_descriptors,
                mtu: Some(port.mtu),
                promiscuous: port.promiscuous,
                udp_checksum,
            };
            let (opened, own) = eal.open(&port.device, &options, pool)?;
            let adopted = opened.adopt_mac(config.mac_of_port(index).map(MacAddress))?;
            for remark in adopted.into_iter().chain(opened.remark_of_mtu()) {
                tracing::warn!(port = port.name, "{remark}");
            }
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
        let nic = |port: &Port<'eal>| Nic {
            mac: port.own_mac(),
            offloads_udp_checksum: port.offloads().udp_checksum,
        };
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
        data_room: computed.data_room.max(longest),
        ..computed
    }
}

/// Bytes of a buffer for a port's frames: as long as its MTU allows, and as long as the driver of its device demands.
fn buffer_len(port: &guideway_model::config::Port) -> u16 {
    let ring = AfPacketRing::of(&port.device).map_or(0, |ring| ring.mbuf_room());
    MempoolOptions::room_for(port.mtu).max(u16::try_from(ring).unwrap_or(u16::MAX))
}

impl<'eal> LivePorts<'eal> {
    /// Port of this index in the configuration.
    fn port(&self, index: usize) -> &Port<'eal> {
        &self.ports[index].1
    }
}

/// Speed of a link; none where the device does not know it.
fn known_speed(link: Link) -> Option<u32> {
    // A link that is down has none, and some drivers say so by 0.
    (link.speed_mbps != u32::MAX && link.speed_mbps != 0).then_some(link.speed_mbps)
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
                speed_mbps: known_speed(link),
                mtu: port.mtu(),
                rss: port.offloads().rss && *queues > 1,
                queues: *queues,
                ..view::Port::default()
            }
        };
        self.ports.iter().map(state).collect()
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

    fn names(&self) -> Vec<String> {
        self.ports.iter().map(|(name, ..)| name.clone()).collect()
    }

    fn take_signals(&self, port: usize) -> PortSignals {
        let Signals { link, reset, removal } = self.port(port).take_signals();
        PortSignals { link, reset, removal }
    }

    fn link(&self, port: usize) -> PortLink {
        let link = self.port(port).link();
        PortLink { up: link.up, speed_mbps: known_speed(link) }
    }

    fn adopt_mac(&self, port: usize, mac: Option<MacAddress>) -> Option<String> {
        // The host stack goes by the address from now on; what the device refuses is for the operator to set right.
        self.port(port).adopt_mac(mac).unwrap_or_else(|error| Some(error.to_string()))
    }

    fn listen(&self, port: usize, groups: &[MacAddress]) -> Option<String> {
        self.port(port).listen(groups)
    }

    fn pause(&self, port: usize) {
        self.port(port).pause();
    }

    fn is_paused(&self, port: usize) -> bool {
        self.port(port).is_paused()
    }

    fn restart(&self, port: usize) -> Result<(), String> {
        self.port(port).restart().map_err(|error| error.to_string())
    }

    fn remove(&self, port: usize) -> Result<(), String> {
        self.port(port).remove().map_err(|error| error.to_string())
    }
}
