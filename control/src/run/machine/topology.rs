//! Cores and NUMA nodes of the machine, as Linux tells them under `/sys`.
//!
//! ```text
//! devices/system/node/node1/cpulist          8-15
//! devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages     256
//! devices/system/cpu/isolated                8-11
//! bus/pci/devices/0000:3b:02.0/numa_node     1
//! class/net/eth0/device/numa_node            1
//! ```
//!
//! A machine of one node says 0 or nothing, and a device that belongs to no node says -1: neither counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use guideway_engine::driver::device::Device;

/// Cores of the machine, and the nodes that they and devices are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Node of each core.
    nodes: BTreeMap<usize, u8>,
    /// Nodes that have cores, and of which each huge page is taken, or none is reserved.
    without_huge_pages: BTreeSet<u8>,
    /// Cores that the kernel gives to nobody who does not ask for them (`isolcpus=`).
    isolated: Vec<usize>,
    /// Directory that the kernel tells of devices in.
    sys: PathBuf,
}

impl Topology {
    /// Reads the topology; `sys` is `/sys`. What the kernel does not tell is left out.
    pub fn read(sys: &Path) -> Self {
        let (mut nodes, mut without_huge_pages) = (BTreeMap::new(), BTreeSet::new());
        for entry in fs::read_dir(sys.join("devices/system/node")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("node")?.parse::<u8>().ok());
            let Some(node) = number else { continue };
            let cores = cores_in(&entry.path().join("cpulist"));
            if !cores.is_empty() && free_huge_pages(&entry.path()) == Some(0) {
                without_huge_pages.insert(node);
            }
            nodes.extend(cores.into_iter().map(|core| (core, node)));
        }
        let isolated = cores_in(&sys.join("devices/system/cpu/isolated"));
        Self { nodes, without_huge_pages, isolated, sys: sys.to_owned() }
    }

    /// Node of a core; none where the kernel does not tell.
    pub fn node_of_core(&self, core: usize) -> Option<u8> {
        self.nodes.get(&core).copied()
    }

    /// Node of a device: a PCI function's, that of the first PCI function in a bond, or that of the kernel's interface that a
    /// virtual device takes packets from.
    pub fn node_of_device(&self, device: &Device) -> Option<u8> {
        let directory = match device.pci_functions().first() {
            Some(address) => self.sys.join("bus/pci/devices").join(address.to_string()),
            None => {
                // A name of the kernel's, not a path.
                let interface = device.interfaces().into_iter().find(|name| !name.contains('/'))?;
                self.sys.join("class/net").join(interface).join("device")
            }
        };
        let node = fs::read_to_string(directory.join("numa_node")).ok()?;
        let node = node.trim().parse::<u8>().ok()?;
        self.nodes.values().any(|known| *known == node).then_some(node)
    }

    /// True if a node has no huge page left, though another node has some.
    pub fn lacks_huge_pages(&self, node: u8) -> bool {
        let others_have = self.nodes.values().any(|node| !self.without_huge_pages.contains(node));
        others_have && self.without_huge_pages.contains(&node)
    }

    /// Cores that the kernel keeps free of everything that does not ask for them.
    pub fn isolated(&self) -> &[usize] {
        &self.isolated
    }
}

/// Huge pages of all sizes that a node has left; none where the kernel does not tell.
fn free_huge_pages(node: &Path) -> Option<u64> {
    let sizes = fs::read_dir(node.join("hugepages")).ok()?;
    let free =
        |path: PathBuf| fs::read_to_string(path.join("free_hugepages")).ok()?.trim().parse::<u64>().ok();
    Some(sizes.flatten().filter_map(|size| free(size.path())).sum())
}

/// Cores in a list of the kernel's in a file; none where there is no such file.
fn cores_in(path: &Path) -> Vec<usize> {
    cores_in_list(&fs::read_to_string(path).unwrap_or_default())
}

/// Cores in a list of the kernel's: `0-3,8`.
pub fn cores_in_list(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn topology(files: &[(&str, &str)]) -> (TempDir, Topology) {
        let sys = tempfile::tempdir().expect("a directory of its own");
        for (path, content) in files {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
            fs::write(path, content).expect("a file can be written");
        }
        let topology = Topology::read(sys.path());
        (sys, topology)
    }

    #[test]
    fn two_nodes_have_their_cores_and_devices() {
        let (_sys, topology) = topology(&[
            ("devices/system/node/node0/cpulist", "0-3,8-11\n"),
            ("devices/system/node/node1/cpulist", "4-7,12-15\n"),
            ("devices/system/node/possible", "0-1\n"),
            ("devices/system/cpu/isolated", "5-6,13\n"),
            ("bus/pci/devices/0000:3b:02.0/numa_node", "1\n"),
            ("bus/pci/devices/0000:3b:02.1/numa_node", "-1\n"),
            ("bus/pci/devices/0000:3b:02.2/numa_node", "7\n"),
            ("class/net/ens1f0/device/numa_node", "0\n"),
            ("class/net/veth0/address", "02:00:00:00:00:01\n"),
        ]);
        assert_eq!(
            [0, 3, 4, 11, 15, 16].map(|core| topology.node_of_core(core)),
            [Some(0), Some(0), Some(1), Some(0), Some(1), None]
        );
        assert_eq!(topology.isolated(), [5, 6, 13]);
        for (device, node) in [
            ("3b:02.0", Some(1)),
            ("3b:02.1", None),
            ("3b:02.2", None),
            ("3b:02.3", None),
            ("net_bonding0,mode=4,member=3b:02.0,member=3b:02.1", Some(1)),
            ("net_af_packet0,iface=ens1f0", Some(0)),
            ("net_af_packet0,iface=veth0", None),
            ("net_af_packet0,iface=../../../x", None),
            ("net_null0", None),
        ] {
            assert_eq!(topology.node_of_device(&device.parse().expect("a device")), node, "{device}");
        }
    }

    #[test]
    fn four_nodes_may_have_gaps_and_one_of_memory_alone() {
        let (_sys, topology) = topology(&[
            ("devices/system/node/node0/cpulist", "0\n"),
            ("devices/system/node/node2/cpulist", "1\n"),
            ("devices/system/node/node3/cpulist", "2,4\n"),
            ("devices/system/node/node8/cpulist", "\n"),
            ("devices/system/cpu/isolated", "\n"),
            ("bus/pci/devices/0000:00:05.0/numa_node", "3\n"),
            ("bus/pci/devices/0000:00:06.0/numa_node", "8\n"),
        ]);
        let nodes = [0, 1, 2, 3, 4].map(|core| topology.node_of_core(core));
        assert_eq!(nodes, [Some(0), Some(2), Some(3), None, Some(3)]);
        assert!(topology.isolated().is_empty());
        assert_eq!(topology.node_of_device(&"00:05.0".parse().expect("a device")), Some(3));
        assert_eq!(topology.node_of_device(&"00:06.0".parse().expect("a device")), None, "it has no core");
    }

    #[test]
    fn a_node_lacks_huge_pages_if_another_has_some() {
        let free = |node: &str, pages: [&str; 2]| {
            let file = |size: &str| {
                format!("devices/system/node/{node}/hugepages/hugepages-{size}kB/free_hugepages")
            };
            [
                (file("2048"), pages[0].to_owned()),
                (file("1048576"), pages[1].to_owned()),
                (format!("devices/system/node/{node}/cpulist"), format!("{}\n", &node[4..])),
            ]
        };
        let lacks = |nodes: [[&str; 2]; 2]| {
            let files = [free("node0", nodes[0]), free("node1", nodes[1])].concat();
            let files: Vec<_> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
            let (_sys, topology) = topology(&files);
            [0, 1].map(|node| topology.lacks_huge_pages(node))
        };
        assert_eq!(lacks([["300\n", "0\n"], ["0\n", "0\n"]]), [false, true]);
        assert_eq!(lacks([["0\n", "0\n"], ["0\n", "2\n"]]), [true, false]);
        assert_eq!(lacks([["5\n", "0\n"], ["5\n", "0\n"]]), [false, false]);
        assert_eq!(lacks([["0\n", "0\n"], ["0\n", "0\n"]]), [false, false], "which is said otherwise");
        let (_sys, silent) = topology(&[("devices/system/node/node0/cpulist", "0\n")]);
        assert!(!silent.lacks_huge_pages(0));
    }

    #[test]
    fn a_machine_of_one_node_or_of_none_has_no_far_cores() {
        let (_sys, one) = topology(&[("devices/system/node/node0/cpulist", "0-1\n")]);
        assert_eq!([0, 1].map(|core| one.node_of_core(core)), [Some(0), Some(0)]);
        let (_sys, none) = topology(&[("devices/system/cpu/online", "0-1\n")]);
        assert_eq!((none.node_of_core(0), none.isolated()), (None, &[][..]));
    }
}
