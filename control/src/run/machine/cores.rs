//! The cores of the control thread and of the workers.

use std::cmp::Reverse;
use std::fmt;
use std::thread;

use guideway_model::config::{Engine, MAX_WORKERS};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::huge_pages::reserve;
use super::topology::Topology;

/// The cores of the appliance's threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Core of the control thread.
    pub control: usize,
    /// Cores of the workers, by their numbers.
    pub workers: Vec<usize>,
}

/// The cores that a process may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// Cores that the kernel runs the process on by itself.
    pub allowed: Vec<usize>,
    /// Cores that the kernel keeps free for whoever asks for them, and that the process may ask for.
    pub isolated: Vec<usize>,
}

/// Cause for which there are no cores for all threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCores {
    /// The process may run nowhere.
    NoneAllowed,
    /// The node of the control thread has no huge page, while another has some.
    NodeWithoutPages {
        /// Node of the control thread's core.
        node: u8,
        /// Core of the control thread.
        core: usize,
    },
    /// There is no core but the control thread's.
    Alone {
        /// Core of the control thread.
        core: usize,
    },
}

impl NoCores {
    /// Command that mends it, or a line of the configuration.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoneAllowed => "taskset -pc 0-63 $$".to_owned(),
            Self::NodeWithoutPages { node, .. } => reserve(*node, 512),
            Self::Alone { core } => format!("[engine] worker_cores = [{core}]"),
        }
    }
}

impl fmt::Display for NoCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneAllowed => f.write_str("this process may run on no core"),
            Self::NodeWithoutPages { node, core } => write!(
                f,
                "NUMA node {node}, where the control thread's core {core} is, has no free huge page: reserve some there \
                 (/sys/devices/system/node/node{node}/hugepages), or name a `control_core` of another node"
            ),
            Self::Alone { core } => write!(
                f,
                "this process may run on core {core} alone, where the control thread is: give it another core, or \
                 write `worker_cores = [{core}]` for a test"
            ),
        }
    }
}

impl std::error::Error for NoCores {}

impl Usable {
    /// The cores of this process: without isolated cores that its control group has not, or its user.
    fn of_process(topology: &Topology) -> Self {
        let set = sched_getaffinity(None).unwrap_or_default();
        let allowed = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        let isolated = topology.isolated().to_vec();
        // Asking is the only way to know, and would leave this thread where it was put last.
        let asks = move || {
            let mut isolated = isolated;
            isolated.retain(|core| may_run_on(*core));
            isolated
        };
        Self { allowed, isolated: thread::spawn(asks).join().unwrap_or_default() }
    }
}

/// Moves this thread to a core, and tells if the kernel allows it.
fn may_run_on(core: usize) -> bool {
    if core >= CpuSet::MAX_CPU {
        return false;
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).is_ok()
}

impl Cores {
    /// The cores that the configuration names, or a choice among those that this process may use; `nodes` are those of
    /// the ports' devices. The choice is logged.
    ///
    /// # Errors
    /// [`NoCores`].
    pub fn choose(engine: &Engine, topology: &Topology, nodes: &[Option<u8>]) -> Result<Self, NoCores> {
        let usable = Usable::of_process(topology);
        let cores = Self::among(engine, &usable, topology, nodes)?;
        cores.tell(engine, &usable, topology, nodes);
        Ok(cores)
    }

    /// The cores that the configuration names, or a choice among those that are usable.
    ///
    /// # Errors
    /// [`NoCores`].
    pub fn among(
        engine: &Engine,
        usable: &Usable,
        topology: &Topology,
        nodes: &[Option<u8>],
    ) -> Result<Self, NoCores> {
        let Usable { allowed, isolated } = usable;
        // Cores on the node of most ports first.
        let rank = |core: &usize| {
            let node = topology.node_of_core(*core);
            (Reverse(nodes.iter().filter(|of_port| of_port.is_some() && **of_port == node).count()), *core)
        };
        // DPDK keeps what it knows of ports on the node of the control thread, and aborts where that has no memory for it.
        let lacks = |core: usize| {
            let node = topology.node_of_core(core).filter(|_| !engine.no_huge);
            node.filter(|node| topology.lacks_huge_pages(*node))
        };
        let nearest = |cores: &mut dyn Iterator<Item = usize>| {
            cores.min_by_key(|core| (lacks(*core).is_some(), rank(core)))
        };
        let is_unused = |core: &usize| !engine.worker_cores.contains(core);
        let unused = || allowed.iter().copied().filter(is_unused);
        let control = engine
            .control_core
            .or_else(|| nearest(&mut unused().filter(|core| !isolated.contains(core))))
            .or_else(|| unused().min())
            .or_else(|| nearest(&mut allowed.iter().copied()))
            .ok_or(NoCores::NoneAllowed)?;
        if let Some(node) = lacks(control) {
            return Err(NoCores::NodeWithoutPages { node, core: control });
        }
        if !engine.worker_cores.is_empty() {
            return Ok(Self { control, workers: engine.worker_cores.clone() });
        }
        let but_control =
            |cores: &[usize]| cores.iter().copied().filter(|core| *core != control).collect::<Vec<_>>();
        let mut workers = but_control(isolated);
        if workers.is_empty() {
            workers = but_control(allowed);
        }
        if workers.is_empty() {
            return Err(NoCores::Alone { core: control });
        }
        workers.sort_unstable_by_key(rank);
        workers.truncate(MAX_WORKERS);
        Ok(Self { control, workers })
    }

    /// Logs the choice, and what an operator may not expect of it.
    fn tell(&self, engine: &Engine, usable: &Usable, topology: &Topology, nodes: &[Option<u8>]) {
        let node = topology.node_of_core(self.control);
        tracing::info!(core = self.control, node, "the control thread has its core");
        let of_isolated = self.workers.iter().all(|core| usable.isolated.contains(core));
        if engine.worker_cores.is_empty() && of_isolated {
            tracing::info!(
                cores = list(&self.workers),
                "the workers take the cores that the kernel isolates"
            );
        }
        let known: Vec<u8> = nodes.iter().copied().flatten().collect();
        let far = self.workers.iter().copied().filter(|core| {
            let node = topology.node_of_core(*core);
            !known.is_empty() && node.is_some_and(|node| !known.contains(&node))
        });
        let far: Vec<usize> = far.collect();
        if !far.is_empty() {
            tracing::info!(
                cores = list(&far),
                "workers on these cores are on another NUMA node than the ports, and slower: `worker_cores` leaves them out"
            );
        }
    }
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn engine(worker_cores: &[usize], control_core: Option<usize>) -> Engine {
        Engine {
            worker_cores: worker_cores.to_vec(),
            control_core,
            no_huge: false,
            memory_mib: 512,
            mbufs: None,
            confine_workers: true,
            confine_listeners: true,
        }
    }

    fn choose(
        worker_cores: &[usize],
        control_core: Option<usize>,
        allowed: &[usize],
    ) -> Result<Cores, NoCores> {
        let usable = Usable { allowed: allowed.to_vec(), isolated: Vec::new() };
        Cores::among(&engine(worker_cores, control_core), &usable, &Topology::default(), &[None])
    }

    fn cores(control: usize, workers: &[usize]) -> Result<Cores, NoCores> {
        Ok(Cores { control, workers: workers.to_vec() })
    }

    #[test]
    fn what_is_configured_holds_and_the_rest_is_chosen_from_what_is_free() {
        assert_eq!(choose(&[], None, &[0, 1, 2]), cores(0, &[1, 2]));
        assert_eq!(choose(&[], Some(2), &[0, 1, 2]), cores(2, &[0, 1]));
        assert_eq!(choose(&[0], None, &[0, 1]), cores(1, &[0]));
        assert_eq!(choose(&[0], None, &[0]), cores(0, &[0]));
        assert_eq!(choose(&[5], Some(4), &[0]), cores(4, &[5]), "what is offline is told when it is used");
        assert!(choose(&[], None, &[3]).unwrap_err().to_string().contains("worker_cores = [3]"));
        assert!(choose(&[], None, &[]).is_err());
        let all: Vec<usize> = (0..100).collect();
        assert_eq!(choose(&[], None, &all), cores(0, &all[1..=MAX_WORKERS]));
    }

    #[test]
    fn cores_that_the_kernel_isolates_are_the_workers() {
        let of = |engine: &Engine, allowed: &[usize], isolated: &[usize]| {
            let usable = Usable { allowed: allowed.to_vec(), isolated: isolated.to_vec() };
            Cores::among(engine, &usable, &Topology::default(), &[])
        };
        let default = engine(&[], None);
        // `isolcpus=2,3`: the kernel runs nothing there by itself, this process included.
        assert_eq!(of(&default, &[0, 1], &[2, 3]), cores(0, &[2, 3]));
        assert_eq!(of(&default, &[0, 1, 2, 3], &[2, 3]), cores(0, &[2, 3]), "started with a wider mask");
        assert_eq!(of(&default, &[2, 3], &[2, 3]), cores(2, &[3]), "started on isolated cores alone");
        assert_eq!(of(&engine(&[1], None), &[0, 1], &[2, 3]), cores(0, &[1]), "a list of one's own holds");
        assert_eq!(of(&engine(&[], Some(3)), &[0, 1], &[2, 3]), cores(3, &[2]));
        assert_eq!(of(&engine(&[], Some(2)), &[0, 1], &[2]), cores(2, &[0, 1]), "none is left of them");
    }

    #[test]
    fn the_nodes_of_the_ports_come_first() {
        let sys = tempfile::tempdir().expect("a directory of its own");
        for (node, list) in [(0, "0-3"), (1, "4-7"), (2, "8-11"), (3, "12-15")] {
            let directory = sys.path().join(format!("devices/system/node/node{node}"));
            fs::create_dir_all(&directory).expect("a folder can be made");
            fs::write(directory.join("cpulist"), list).expect("a file can be written");
        }
        let topology = Topology::read(sys.path());
        let of = |engine: &Engine, allowed: std::ops::Range<usize>, nodes: &[Option<u8>]| {
            let usable = Usable { allowed: allowed.collect(), isolated: Vec::new() };
            Cores::among(engine, &usable, &topology, nodes)
        };
        let default = engine(&[], None);
        assert_eq!(of(&default, 0..8, &[Some(1)]), cores(4, &[5, 6, 7, 0, 1, 2, 3]));
        assert_eq!(of(&default, 0..8, &[None]), cores(0, &[1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(of(&default, 0..3, &[Some(3)]), cores(0, &[1, 2]), "none of the port's node");
        let two_on_the_third = [Some(0), Some(2), Some(2)];
        assert_eq!(
            of(&default, 0..16, &two_on_the_third),
            cores(8, &[9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15])
        );
        assert_eq!(of(&engine(&[4, 5], None), 0..8, &[Some(1)]), cores(6, &[4, 5]), "beside its workers");
        assert_eq!(of(&engine(&[4, 5, 6, 7], None), 0..8, &[Some(1)]), cores(0, &[4, 5, 6, 7]));
    }

    #[test]
    fn the_control_thread_goes_where_huge_pages_are() {
        let sys = tempfile::tempdir().expect("a directory of its own");
        for (node, list, free) in [(0, "0-3", "300\n"), (1, "4-7", "0\n")] {
            let directory = sys.path().join(format!("devices/system/node/node{node}"));
            let pages = directory.join("hugepages/hugepages-2048kB");
            fs::create_dir_all(&pages).expect("a folder can be made");
            fs::write(directory.join("cpulist"), list).expect("a file can be written");
            fs::write(pages.join("free_hugepages"), free).expect("a file can be written");
        }
        let topology = Topology::read(sys.path());
        let usable = Usable { allowed: (0..8).collect(), isolated: Vec::new() };
        let of = |engine: &Engine| Cores::among(engine, &usable, &topology, &[Some(1)]);
        assert_eq!(of(&engine(&[], None)), cores(0, &[4, 5, 6, 7, 1, 2, 3]));
        let error = of(&engine(&[], Some(4))).unwrap_err().to_string();
        assert!(
            error.starts_with("NUMA node 1, where the control thread's core 4 is, has no free huge"),
            "{error}"
        );
        let without = Engine { no_huge: true, ..engine(&[], None) };
        assert_eq!(of(&without), cores(4, &[5, 6, 7, 0, 1, 2, 3]));
    }

    #[test]
    fn this_process_may_use_some_core() {
        let usable = Usable::of_process(&Topology::default());
        assert!(!usable.allowed.is_empty() && usable.isolated.is_empty());
    }
}
