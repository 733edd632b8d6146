//! Mempools of the ports: how many, on which nodes, and how large.

use guideway_dataplane::pipeline::BURST;
use guideway_engine::driver::MempoolOptions;
use guideway_engine::driver::device::AfPacketRing;
use guideway_model::config::{Config, Port};

use super::topology::Topology;
use crate::run::worker::RingSizes;

/// Pools of a configuration, one for each node that ports are on, the first port's first.
pub fn pools(config: &Config, workers: usize, topology: &Topology) -> Vec<MempoolOptions> {
    // Ordinary pages lie where the kernel puts them.
    let has_nodes = !config.engine.no_huge;
    let node_of = |port: &Port| topology.node_of_device(&port.device).filter(|_| has_nodes);
    let nodes: Vec<Option<u8>> = config.ports.iter().map(node_of).collect();
    let mut pools: Vec<MempoolOptions> = Vec::new();
    for node in &nodes {
        if pools.iter().all(|pool| pool.node != *node) {
            let ports = nodes.iter().filter(|of_port| *of_port == node).count();
            pools.push(MempoolOptions { node: *node, ..pool_options(config, workers, ports) });
        }
    }
    pools
}

/// A pool for so many of the ports, of as many frames as queues, rings and workers may hold at once.
fn pool_options(config: &Config, workers: usize, ports: usize) -> MempoolOptions {
    let largest = |descriptors: fn(&Port) -> u16| config.ports.iter().map(descriptors).max().unwrap_or(0);
    let rx_descriptors = u32::from(largest(|port| port.rx_descriptors));
    let tx_descriptors = u32::from(largest(|port| port.tx_descriptors));
    // Rings between workers that share queues hold as much as queues of their own would, and a worker that
    // shares one out or sends for others keeps a burst in either direction.
    let pairs = (ports * workers) as u32;
    // Frames leave by any port, whichever they came by.
    let by_others = ((config.ports.len() - ports) * workers) as u32 * tx_descriptors;
    let host_frames = 2 * (RingSizes::LIVE.host * workers) as u32 + 2 * BURST as u32 * pairs + by_others;
    let computed =
        MempoolOptions::holding(pairs, rx_descriptors + tx_descriptors, workers as u32, host_frames);
    let longest = config.ports.iter().map(buffer_len).max().unwrap_or_default();
    MempoolOptions {
        mbufs: config.engine.mbufs.unwrap_or(computed.mbufs),
        data_room: computed.data_room.max(longest),
        ..computed
    }
}

/// Bytes of a buffer for a port's frames: as long as its MTU allows, and as long as the driver of its device demands.
fn buffer_len(port: &Port) -> u16 {
    let ring = AfPacketRing::of(&port.device).map_or(0, |ring| ring.mbuf_room());
    MempoolOptions::room_for(port.mtu).max(u16::try_from(ring).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_one_node_share_a_pool() {
        let text = "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n[[port]]\nname = \"b\"\ndevice = \"net_null1\"\n";
        let config = Config::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"));
        let pools = pools(&config, 2, &Topology::default());
        let [pool] = &pools[..] else { panic!("{pools:?}") };
        assert_eq!((pool.node, pool.mbufs, pool.data_room), (None, 16_383, 2048));
    }
}
