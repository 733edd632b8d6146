//! Tree of files that stands for a machine in tests: two NUMA nodes, a VF bound to `vfio-pci`, workers on isolated cores.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use guideway_model::config::Config;
use tempfile::TempDir;

use super::facts::{Facts, VfSettings};
use crate::api::view::{Port, Status, Worker, WorkerState};

/// Seed of the configuration.
pub(super) const SEED: &str = "000102030405060708090a0b0c0d0e0f";

/// Configuration of the machine: one port, a VF, with two workers on its node.
pub(super) const CONFIG: &str = "\
[engine]
worker_cores = [4, 5]
control_core = 6
[fleet]
seed = \"000102030405060708090a0b0c0d0e0f\"
[conntrack]
max_entries = 1000000
[[port]]
name = \"wan\"
device = \"0000:3b:02.0\"
ip_addresses = [\"192.0.2.1/24\"]
[[forwarding_rule]]
name = \"web\"
ip_address = \"203.0.113.10\"
ports = [80]
backend_service = \"web\"
[[backend_service]]
name = \"web\"
health_checks = [\"alive\"]
backends = [{ group = \"web\" }]
[[backend_group]]
name = \"web\"
endpoints = [{ name = \"web-1\", ip_address = \"192.0.2.21\" }]
[[health_check]]
name = \"alive\"
type = \"TCP\"
";

/// Device that takes the frames of an interface of the kernel.
pub(super) const TAP: &str = "net_af_packet0,iface=eth0";

/// Files of a machine on which nothing is wrong.
const FILES: [(&str, &str); 31] = [
    ("proc/cmdline", "quiet intel_iommu=on iommu=pt isolcpus=4,5 nohz_full=4,5\n"),
    ("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu tsc\n"),
    ("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n"),
    ("proc/self/status", "Name:\tguideway\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-3,6-7\n"),
    ("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n"),
    ("proc/interrupts", "      CPU0 CPU1\n 24:  7 0  PCI-MSI  ens1f0-TxRx-0\n NMI:  0 0  Non-maskable\n"),
    ("proc/irq/24/smp_affinity_list", "0-3\n"),
    ("proc/net/tcp", "  sl  local_address\n"),
    ("proc/sys/net/ipv4/ip_forward", "0\n"),
    ("proc/sys/net/ipv6/conf/all/forwarding", "0\n"),
    ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
    ("sys/devices/system/cpu/online", "0-7\n"),
    ("sys/devices/system/cpu/isolated", "4-5\n"),
    ("sys/devices/system/cpu/nohz_full", "4-5\n"),
    ("sys/devices/system/cpu/cpu4/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu5/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/node/node0/cpulist", "0-3\n"),
    ("sys/devices/system/node/node1/cpulist", "4-7\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "256\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "256\n"),
    ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "256\n"),
    ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "256\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("sys/kernel/iommu_groups/16/devices/0000:3b:02.0/vendor", "0x8086\n"),
    ("sys/bus/pci/drivers/vfio-pci/bind", ""),
    ("sys/module/vfio_pci/refcnt", "1\n"),
    ("sys/bus/pci/devices/0000:3b:02.0/numa_node", "1\n"),
    ("sys/bus/pci/devices/0000:3b:02.0/physfn/net/ens1f0/mtu", "1500\n"),
    ("sys/class/net/ens1f0/operstate", "up\n"),
];

/// Settings of the VF on the machine on which nothing is wrong.
const PF: &str = r#"[{"vfinfo_list":[{"vf":0,"address":"02:00:00:00:00:02","spoofchk":false,"trust":true,
                     "link_state":"auto","vlan_list":[]}]}]"#;

/// Machine in a directory of its own.
pub(super) struct Tree {
    root: TempDir,
    /// Text of the configuration.
    pub(super) config: String,
    /// Words of `ip` about the PF.
    pub(super) pf: String,
    /// Status of the running appliance.
    pub(super) status: Option<Status>,
}

impl Tree {
    /// Machine on which nothing is wrong.
    pub(super) fn healthy() -> Self {
        let root = tempfile::tempdir().expect("a directory of its own");
        let tree = Self { root, config: CONFIG.to_owned(), pf: PF.to_owned(), status: None };
        FILES.into_iter().for_each(|(path, text)| tree.write(path, text));
        let function = "sys/bus/pci/devices/0000:3b:02.0";
        tree.link(&format!("{function}/driver"), "../../drivers/vfio-pci");
        tree.link(&format!("{function}/iommu_group"), "../../../../kernel/iommu_groups/16");
        tree.link(&format!("{function}/physfn/virtfn0"), "../0000:3b:02.0");
        tree
    }

    /// Directory that stands for `/`.
    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file, and the folders that it is in.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// Takes the module `vfio_pci` away, with the driver that it brings.
    pub(super) fn unload_vfio_pci(&mut self) {
        self.remove("sys/module/vfio_pci");
        self.remove("sys/bus/pci/drivers");
    }

    /// Removes a file, a link or a folder.
    pub(super) fn remove(&self, path: &str) {
        let path = self.root.path().join(path);
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.expect("it is there");
    }

    /// Makes a symbolic link, in place of one that there is.
    pub(super) fn link(&self, path: &str, to: &str) {
        let path = self.root.path().join(path);
        let _ = fs::remove_file(&path);
        symlink(to, path).expect("a link can be made");
    }

    /// Replaces a part of the configuration.
    pub(super) fn configure(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "{from}");
        self.config = self.config.replacen(from, to, 1);
    }

    /// Facts of the machine.
    pub(super) fn facts(&self) -> Facts {
        let config = Config::parse("guideway.toml", &self.config).unwrap_or_else(|errors| panic!("{errors}"));
        let mut facts = Facts::of_files(self.root.path(), Some(config), self.status.clone());
        facts.config_path = "guideway.toml".to_owned();
        facts.has_live_ports = true;
        for function in &mut facts.functions {
            if let Some(vf) = &mut function.vf {
                vf.settings = VfSettings::parse(self.pf.as_bytes(), vf.number);
            }
        }
        facts
    }
}

/// Running appliance of two workers, whose port has queues for both.
pub(super) fn running() -> Status {
    let worker = |number: u16| Worker {
        number,
        core: 4 + u32::from(number),
        node: Some(1),
        state: WorkerState::Running,
        polls: 1,
        busy_share: 0.0,
        packet_share: 0.0,
        queues: Vec::new(),
    };
    let port = Port {
        name: "wan".to_owned(),
        device: "0000:3b:02.0".to_owned(),
        driver: "net_iavf".to_owned(),
        link_up: true,
        rss: true,
        rx_queues: 2,
        tx_queues: 2,
        ..Port::default()
    };
    let empty = serde_json::json!({
        "version": "0", "pid": 7, "started_at_unix_sec": 0, "uptime_sec": 0, "config_path": "guideway.toml",
        "config_loaded_at_unix_sec": 0, "configuration_generation": 1, "snapshot_generation": 1,
        "unreclaimed_snapshots": 0, "unresolved_neighbors": 0, "log_lines_lost": 0, "health_checks": null,
        "ports": [], "workers": [], "services": [], "vips": [], "announcements": [], "drain": null,
        "operator_settings": { "state_path": null, "last_error": null, "backends": [] },
    });
    let empty: Status = serde_json::from_value(empty).expect("a status of nothing");
    Status { ports: vec![port], workers: vec![worker(0), worker(1)], ..empty }
}

/// Port by `net_af_packet` in place of the VF.
pub(super) fn on_interface(tree: &mut Tree) {
    tree.configure("0000:3b:02.0", TAP);
    for (file, text) in [("mtu", "1500\n"), ("flags", "0x1103\n"), ("carrier", "1\n")] {
        tree.write(&format!("sys/class/net/eth0/{file}"), text);
    }
}
