//! The configured ports, opened: the control thread's ends, and the queues of each worker.

use std::collections::BTreeSet;
use std::io;
use std::thread::Scope;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::dpdk::{
    DpdkMbuf, Eal, InterfaceState, Link, Mempool, MempoolOptions, Port, PortOptions, QueueCounts, QueuePair,
    Rss, Signals, StartError,
};
use guideway_engine::driver::queue_plan::QueuePlan;
use guideway_engine::driver::steering::{Rings, rings};
use guideway_model::config::Config;

use crate::api::view;
use crate::run::appliance::{Nic, needs_udp_checksum};
use crate::run::machine::frame_memory;
use crate::run::machine::topology::Topology;
use crate::run::ports::{PortInterface, PortLink, PortSignals, Ports};

use super::resets::Resets;

/// A worker's queues of one port, before it has attached them to its thread.
pub(super) struct Queues<'eal> {
    /// Queues that the device keeps for this worker; none where it goes by other workers alone.
    pub(super) own: Option<QueuePair<'eal>>,
    /// Rings to and from the workers that it shares queues with.
    pub(super) rings: Rings<DpdkMbuf<'eal>>,
}

/// The control thread's ends of all ports.
pub(super) struct LivePorts<'eal> {
    ports: Vec<LivePort<'eal>>,
    /// Mempools, one for each node of the ports, the first port's first.
    pools: Vec<NodePool<'eal>>,
    /// Node of each worker's core.
    nodes: Vec<Option<u8>>,
    /// Thread that resets devices; none before the appliance runs.
    resets: Option<Resets<'eal>>,
}

/// Mempool of the ports of one NUMA node, or of those whose node nobody knows.
struct NodePool<'eal> {
    node: Option<u8>,
    pool: Mempool<'eal>,
}

/// The control thread's end of one port.
struct LivePort<'eal> {
    name: String,
    port: Port<'eal>,
    node: Option<u8>,
    plan: QueuePlan,
}

impl<'eal> LivePorts<'eal> {
    /// Opens every port of the configuration, for workers on these cores; returns the queues of each worker too, in the order
    /// of the ports.
    pub(super) fn open(
        eal: &'eal Eal,
        config: &Config,
        cores: &[usize],
        topology: &Topology,
    ) -> Result<(Self, Vec<Vec<Queues<'eal>>>), StartError> {
        let workers = cores.len();
        let nodes: Vec<Option<u8>> = cores.iter().map(|core| topology.node_of_core(*core)).collect();
        let pools = pools(eal, config, workers, topology)?;
        let udp_checksum = needs_udp_checksum(config);
        let mut ports = Vec::with_capacity(config.ports.len());
        let mut queues: Vec<Vec<Queues<'eal>>> = (0..workers).map(|_| Vec::new()).collect();
        let mut duties = vec![0; workers];
        for (index, port) in config.ports.iter().enumerate() {
            let offloads = eal.offloads(&port.device)?;
            let options = PortOptions {
                queues: offloads.queues_for(workers as u16, &port.device),
                rx_descriptors: port.rx_descriptors,
                tx_descriptors: port.tx_descriptors,
                mtu: Some(port.mtu),
                promiscuous: port.promiscuous,
                udp_checksum,
                filters_vlans: config.links().any(|link| link.port == index && link.vlan.is_some()),
            };
            let node = topology.node_of_device(&port.device);
            let of_node = pools.iter().find(|pool| pool.node == node).unwrap_or(&pools[0]);
            let (opened, pairs) = eal.open(&port.device, &options, of_node.pool)?;
            let adopted = opened.adopt_mac(config.mac_of_port(index).map(MacAddress))?;
            for remark in adopted.into_iter().chain(opened.remark_of_mtu()) {
                tracing::warn!(port = port.name, "{remark}");
            }
            let is_near: Vec<bool> = nodes.iter().map(|of_worker| *of_worker == node).collect();
            let plan = plan(opened.queues(), &is_near, &mut duties);
            tell(&port.name, &opened, &plan, !config.routes.is_empty());
            let depths = (usize::from(port.rx_descriptors), usize::from(port.tx_descriptors));
            deal_out(&mut queues, &plan, pairs, rings(&plan, depths.0, depths.1));
            ports.push(LivePort { name: port.name.clone(), port: opened, node, plan });
        }
        Ok((Self { ports, pools, nodes, resets: None }, queues))
    }

    /// Starts the thread that resets devices.
    pub(super) fn start_resets<'scope>(&mut self, scope: &'scope Scope<'scope, '_>) -> io::Result<()>
    where
        'eal: 'scope,
    {
        self.resets = Some(Resets::start(scope)?);
        Ok(())
    }

    /// MAC address and offloads of each port's device.
    pub(super) fn nics(&self) -> Vec<Nic> {
        let nic = |live: &LivePort<'eal>| Nic {
            mac: live.port.own_mac(),
            offloads_udp_checksum: live.port.offloads().udp_checksum,
        };
        self.ports.iter().map(nic).collect()
    }
}

/// Makes a mempool on each node that ports are on. Where the node of a virtual device has no memory for it, that of any node
/// serves.
fn pools<'eal>(
    eal: &'eal Eal,
    config: &Config,
    workers: usize,
    topology: &Topology,
) -> Result<Vec<NodePool<'eal>>, StartError> {
    let mut pools: Vec<NodePool<'eal>> = Vec::new();
    for options in frame_memory::pools(config, workers, topology) {
        let node = options.node;
        let name = node.map_or("frames".to_owned(), |node| format!("frames-{node}"));
        let pool = match (eal.mempool(&name, &options), node) {
            (Err(error), Some(node)) => {
                tracing::warn!(
                    "NUMA node {node}, which ports are on, has no memory for frames, so that another one's is taken: {error} \
                     (/sys/devices/system/node/node{node}/hugepages)"
                );
                eal.mempool(&format!("{name}-any"), &MempoolOptions { node: None, ..options })?
            }
            (pool, _) => pool?,
        };
        pools.push(NodePool { node, pool });
    }
    Ok(pools)
}

/// Plans a port's queues: they go first to workers near the port, by `is_near`, and of these to those that have the fewest
/// duties of other ports, which are to share out a queue, and to send for others.
fn plan(queues: QueueCounts, is_near: &[bool], duties: &mut [usize]) -> QueuePlan {
    let mut order: Vec<u16> = (0..duties.len() as u16).collect();
    if usize::from(queues.rx.min(queues.tx)) < duties.len() {
        order.sort_by_key(|worker| (!is_near[usize::from(*worker)], duties[usize::from(*worker)]));
    }
    let plan = QueuePlan::new(order, queues.rx, queues.tx);
    for (duties, worker) in duties.iter_mut().zip(0..) {
        *duties += plan.followers(worker).len() + plan.carried(worker).count();
    }
    plan
}

/// Logs how workers and queues of a port go together, how the device spreads flows over the queues, and what it has refused;
/// `routes` is true if both directions of flows are to meet at one worker.
fn tell(name: &str, port: &Port<'_>, plan: &QueuePlan, routes: bool) {
    for refusal in port.refusals() {
        tracing::warn!(port = name, device = %port.device(), "{refusal}: fewer queues are tried");
    }
    tracing::info!(port = name, "{plan}");
    let Some(rss) = port.rss() else { return };
    let entries =
        rss.entries(port.queues().rx).map(|entries| entries.iter().map(u16::to_string).collect::<Vec<_>>());
    tracing::info!(
        port = name,
        types = rss.types.join(","),
        symmetric = rss.symmetric,
        table_entries = entries.map(|entries| entries.join(",")),
        "the device spreads flows over its receive queues"
    );
    if let Some(refusal) = &rss.table_refusal {
        tracing::info!(port = name, "the device keeps its own redirection table ({refusal})");
    }
    if routes && rss.symmetric == Some(false) {
        tracing::warn!(
            port = name,
            "the device hashes both directions of a flow apart: the first packets of a routed connection may overtake each \
             other"
        );
    }
}

/// Gives each worker its queues of one port, and its rings.
fn deal_out<'eal>(
    queues: &mut [Vec<Queues<'eal>>],
    plan: &QueuePlan,
    pairs: Vec<QueuePair<'eal>>,
    rings: Vec<Rings<DpdkMbuf<'eal>>>,
) {
    let mut pairs: Vec<Option<QueuePair<'eal>>> = pairs.into_iter().map(Some).collect();
    for (worker, rings) in rings.into_iter().enumerate() {
        // A pair has the queue of this number of one direction or of both, and so has the worker.
        let queue = plan.rx_queue(worker as u16).or(plan.tx_queue(worker as u16));
        let own = queue.and_then(|queue| pairs.get_mut(usize::from(queue))?.take());
        queues[worker].push(Queues { own, rings });
    }
}

impl<'eal> LivePorts<'eal> {
    /// Port of this index in the configuration.
    fn port(&self, index: usize) -> &Port<'eal> {
        &self.ports[index].port
    }
}

/// Speed of a link; none where the device does not know it.
fn known_speed(link: Link) -> Option<u32> {
    // A link that is down has none, and some drivers say so by 0.
    (link.speed_mbps != u32::MAX && link.speed_mbps != 0).then_some(link.speed_mbps)
}

fn show_rss(rss: Rss, queues: u16) -> view::RssState {
    view::RssState {
        types: rss.types.iter().map(|name| (*name).to_owned()).collect(),
        symmetric: rss.symmetric,
        table_entries: rss.entries(queues),
        table_refusal: rss.table_refusal,
    }
}

impl<'eal> Ports for LivePorts<'eal> {
    type Frame = DpdkMbuf<'eal>;

    fn frame(&self, bytes: &[u8]) -> Option<DpdkMbuf<'eal>> {
        self.pools[0].pool.frame(bytes)
    }

    fn states(&self) -> Vec<view::Port> {
        let state = |LivePort { name, port, node, plan }: &LivePort<'eal>| {
            let link = port.link();
            let QueueCounts { rx, tx } = port.queues();
            view::Port {
                name: name.clone(),
                device: port.device().to_string(),
                driver: port.driver().to_owned(),
                mac: port.mac().to_string(),
                link_up: link.up,
                speed_mbps: known_speed(link),
                mtu: port.mtu(),
                node: node.map(u32::from),
                rss: port.offloads().rss && rx > 1,
                queues: rx.min(tx),
                rx_queues: rx,
                tx_queues: tx,
                queue_plan: plan.to_string(),
                queue_refusals: port.refusals().iter().map(ToString::to_string).collect(),
                rss_state: port.rss().map(|rss| show_rss(rss, rx)),
                // The control thread's watch of the ports fills in the rest.
                ..view::Port::default()
            }
        };
        self.ports.iter().map(state).collect()
    }

    fn node_of(&self, worker: u16) -> Option<u32> {
        self.nodes.get(usize::from(worker)).copied().flatten().map(u32::from)
    }

    fn queues_of(&self, worker: u16) -> Vec<view::WorkerQueues> {
        let queues = |LivePort { name, plan, .. }: &LivePort<'eal>| view::WorkerQueues {
            port: name.clone(),
            rx_queue: plan.rx_queue(worker),
            shares_with: plan.followers(worker),
            receives_from: plan.distributors(worker),
            tx_queue: plan.tx_queue(worker),
            sends_by: plan.carrier(worker),
        };
        self.ports.iter().map(queues).collect()
    }

    fn take_vlans(&self, port: usize, vlans: &BTreeSet<u16>) -> Option<String> {
        self.port(port).take_vlans(vlans)
    }

    fn stats(&self) -> Vec<view::PortStats> {
        let stats = |LivePort { name, port, .. }: &LivePort<'eal>| {
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

    fn xstats(&self) -> Vec<view::PortXstats> {
        let xstats = |LivePort { name, port, .. }: &LivePort<'eal>| view::PortXstats {
            name: name.clone(),
            counters: port.xstats().into_iter().collect(),
        };
        self.ports.iter().map(xstats).collect()
    }

    fn names(&self) -> Vec<String> {
        self.ports.iter().map(|live| live.name.clone()).collect()
    }

    fn take_signals(&self, port: usize) -> PortSignals {
        let Signals { link, reset, removal } = self.port(port).take_signals();
        PortSignals { link, reset, removal }
    }

    fn link(&self, port: usize) -> PortLink {
        let link = self.port(port).watch_link();
        let interface = match self.port(port).interface_state() {
            Some(InterfaceState::Gone) => PortInterface::Gone,
            Some(InterfaceState::Replaced) => PortInterface::Replaced,
            Some(InterfaceState::Up | InterfaceState::Down) | None => PortInterface::Present,
        };
        PortLink { up: link.up, speed_mbps: known_speed(link), interface }
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

    fn members(&self, port: usize) -> Vec<view::PortMember> {
        let members = self.port(port).members().into_iter();
        members.map(|member| view::PortMember { name: member.name, link_up: member.up }).collect()
    }

    fn begin_restart(&self, port: usize) -> Result<(), String> {
        let resets = self.resets.as_ref().ok_or("the thread that resets devices has not started")?;
        resets.begin(port, self.port(port).begin_restart().map_err(|error| error.to_string())?)
    }

    fn end_restart(&self, port: usize) -> Option<Result<(), String>> {
        let outcome = self.resets.as_ref()?.take(port)?;
        Some(
            outcome
                .and_then(|outcome| self.port(port).end_restart(outcome).map_err(|error| error.to_string())),
        )
    }

    fn remove(&self, port: usize) -> Result<(), String> {
        self.port(port).remove().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duties_of_several_ports_go_to_several_workers() {
        let mut duties = [0; 4];
        let mut plan = |rx, tx, is_near: [bool; 4]| plan(QueueCounts { rx, tx }, &is_near, &mut duties);
        let pollers: Vec<u16> = (0..3).map(|_| plan(1, 1, [false; 4]).poller(0)).collect();
        assert_eq!(pollers, [0, 1, 2]);
        let own = plan(4, 4, [false, false, true, true]);
        assert!((0..4).all(|worker| own.rx_queue(worker) == Some(worker)), "{own}");
    }

    #[test]
    fn queues_go_to_workers_on_the_node_of_the_port() {
        let mut duties = [0; 4];
        let mut plan = |is_near: [bool; 4]| plan(QueueCounts { rx: 1, tx: 2 }, &is_near, &mut duties);
        let [first, second] = [0, 1].map(|_| plan([false, true, false, true]));
        assert_eq!((first.poller(0), first.tx_queue(3)), (1, Some(1)));
        assert_eq!((second.poller(0), second.tx_queue(1)), (3, Some(1)));
        assert_eq!(plan([true, false, false, false]).poller(0), 0);
    }
}
