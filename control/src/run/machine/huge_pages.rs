//! Huge pages: those that the kernel has reserved, node by node, and nodes of ports that have none.
//!
//! ```text
//! sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages       512
//!                                                         /free_hugepages     256
//! ```

use std::fmt;
use std::fs;
use std::path::Path;

use guideway_engine::driver::device::Device;
use guideway_model::config::Config;

use super::topology::Topology;

/// Reserved huge pages of one size on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugePages {
    /// Node of the pages; none on a machine whose kernel tells of no nodes.
    pub node: Option<u8>,
    /// Size of a page in KiB.
    pub kibibytes: u64,
    /// Number of pages that the kernel has reserved.
    pub reserved: u64,
    /// Number of pages that nobody uses.
    pub free: u64,
}

impl HugePages {
    /// Reads the pages of each node and size below `root`, which is `/` but for tests.
    pub fn read(root: &Path) -> Vec<Self> {
        let mut pages = Vec::new();
        for entry in fs::read_dir(root.join("sys/devices/system/node")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("node")?.parse::<u8>().ok());
            if let Some(node) = number {
                pages.extend(of_directory(&entry.path().join("hugepages"), Some(node)));
            }
        }
        if pages.is_empty() {
            pages.extend(of_directory(&root.join("sys/kernel/mm/hugepages"), None));
        }
        pages.sort_unstable_by_key(|pages| (pages.node, pages.kibibytes));
        pages
    }
}

fn of_directory(directory: &Path, node: Option<u8>) -> Vec<HugePages> {
    let sizes = fs::read_dir(directory).into_iter().flatten().flatten();
    let of_size = sizes.filter_map(|size| {
        let kibibytes =
            size.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let number = |file: &str| fs::read_to_string(size.path().join(file)).ok()?.trim().parse::<u64>().ok();
        Some(HugePages {
            node,
            kibibytes,
            reserved: number("nr_hugepages").unwrap_or(0),
            free: number("free_hugepages")?,
        })
    });
    of_size.collect()
}

/// Error of a port whose device is on a NUMA node without a free huge page, while another node has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWithoutPages {
    /// Node of the device.
    pub node: u8,
    /// Name of the port.
    pub port: String,
}

impl NodeWithoutPages {
    /// Command that reserves pages on the node.
    pub fn remedy(&self) -> String {
        reserve(self.node, 512)
    }

    /// Fault in words, without its remedy.
    pub fn found(&self) -> String {
        format!("NUMA node {}, where port `{}` is, has no free huge page", self.node, self.port)
    }
}

/// Command that reserves so many pages of 2 MiB on a node.
pub fn reserve(node: u8, pages: u64) -> String {
    format!("echo {pages} > /sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages")
}

impl fmt::Display for NodeWithoutPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: reserve some there (`{}`)", self.found(), self.remedy())
    }
}

impl std::error::Error for NodeWithoutPages {}

/// PCI devices, of a port or in a bond, on NUMA nodes without huge pages. DPDK refuses them: their drivers keep what they have
/// on that node.
pub fn nodes_without_pages<'c>(
    config: &'c Config,
    topology: &'c Topology,
) -> impl Iterator<Item = NodeWithoutPages> + 'c {
    let ports = config.ports.iter().filter(|_| !config.engine.no_huge);
    ports.filter_map(|port| {
        let functions = port.device.pci_functions().into_iter().map(Device::Pci);
        let mut nodes = functions.filter_map(|function| topology.node_of_device(&function));
        let node = nodes.find(|node| topology.lacks_huge_pages(*node))?;
        Some(NodeWithoutPages { node, port: port.name.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_device_on_a_node_without_huge_pages_is_refused() {
        let sys = tempfile::tempdir().expect("a directory of its own");
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
            fs::write(path, text).expect("a file can be written");
        };
        for (node, free) in [(0, "300\n"), (1, "0\n")] {
            let directory = format!("devices/system/node/node{node}");
            write(&format!("{directory}/cpulist"), &format!("{node}\n"));
            write(&format!("{directory}/hugepages/hugepages-2048kB/free_hugepages"), free);
        }
        write("bus/pci/devices/0000:3b:02.0/numa_node", "1\n");
        write("bus/pci/devices/0000:02:00.0/numa_node", "0\n");
        write("class/net/eth0/device/numa_node", "1\n");
        let topology = Topology::read(sys.path());
        let found = |engine: &str, device: &str| {
            let text = format!("{engine}\n[[port]]\nname = \"lan\"\ndevice = \"{device}\"\n");
            let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
            nodes_without_pages(&config, &topology).next().map(|error| error.to_string())
        };
        assert_eq!(
            found("", "0000:3b:02.0").as_deref(),
            Some(
                "NUMA node 1, where port `lan` is, has no free huge page: reserve some there (`echo 512 > \
                 /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages`)"
            )
        );
        assert_eq!(found("", "0000:02:00.0"), None);
        assert!(found("", "net_bonding0,mode=1,member=0000:02:00.0,member=0000:3b:02.0").is_some());
        assert_eq!(found("", "net_af_packet0,iface=eth0"), None, "another node's serve");
        assert_eq!(found("[engine]\nno_huge = true", "0000:3b:02.0"), None);
    }

    #[test]
    fn pages_are_read_of_each_node_and_size() {
        let root = tempfile::tempdir().expect("a directory of its own");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
            fs::write(path, text).expect("a file can be written");
        };
        write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
        write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n");
        let pages = |node, kibibytes, reserved, free| HugePages { node, kibibytes, reserved, free };
        assert_eq!(HugePages::read(root.path()), [pages(None, 2048, 8, 5)]);
        for (node, size, reserved) in [(1, 2048, 7), (0, 1_048_576, 1), (0, 2048, 1)] {
            let directory = format!("sys/devices/system/node/node{node}/hugepages/hugepages-{size}kB");
            write(&format!("{directory}/nr_hugepages"), &format!("{reserved}\n"));
            write(&format!("{directory}/free_hugepages"), "1\n");
        }
        assert_eq!(
            HugePages::read(root.path()),
            [pages(Some(0), 2048, 1, 1), pages(Some(0), 1_048_576, 1, 1), pages(Some(1), 2048, 7, 1)]
        );
    }
}
