//! Capabilities of the process (capabilities(7)), and those that devices and listeners need: a process that is not root's may
//! lack some, and DPDK says no more than that something is not permitted.

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;

use guideway_engine::driver::device::Device;
use guideway_engine::driver::pci_function::PciFunction;
use guideway_model::config::Config;

use super::shell_word::quoted;

/// Capability that the appliance may need, by its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Listening on a low port.
    NetBindService = 10,
    /// Settings of interfaces: address, MTU, promiscuous mode.
    NetAdmin = 12,
    /// Sockets for whole frames.
    NetRaw = 13,
    /// Locking of memory beyond the limit.
    IpcLock = 14,
    /// Devices without an IOMMU.
    SysRawio = 17,
    /// Physical addresses of memory.
    SysAdmin = 21,
    /// Programs in the kernel that hand frames to AF_XDP.
    Bpf = 39,
}

/// Capabilities of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Set of the effective ones, a bit each; none where the kernel does not tell.
    effective: Option<u64>,
}

/// Error of a process without capabilities that a port or a listener needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCapability {
    /// Port or listener, as a phrase.
    pub subject: String,
    /// Capabilities that the process does not have.
    pub capabilities: Vec<Capability>,
}

impl Capabilities {
    /// Reads the capabilities of this process below `root`, which is `/` but for tests.
    pub fn read(root: &Path) -> Self {
        Self::of_status(&root.join("proc/self/status"))
    }

    /// Reads the capabilities of a process in its `/proc/PID/status`.
    pub fn of_status(path: &Path) -> Self {
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self { effective: line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()) }
    }

    /// True if the process has a capability, or nobody tells.
    pub fn has(self, capability: Capability) -> bool {
        self.effective.is_none_or(|set| set & 1 << capability as u32 != 0)
    }

    /// Lists what ports and listeners of a configuration need and the process does not have; `root` is `/` but for tests.
    pub fn missing(self, config: &Config, root: &Path) -> Vec<MissingCapability> {
        let of_ports = config.ports.iter().map(|port| {
            let subject = format!("port `{}` (`{}`)", port.name, port.device);
            (subject, of_device(&port.device, root))
        });
        let listen = config.metrics.listen;
        let of_metrics = (listen.port() != 0 && listen.port() < first_free_port(root))
            .then(|| (format!("`[metrics] listen = \"{listen}\"`"), vec![Capability::NetBindService]));
        let lacks = |(subject, mut capabilities): (String, Vec<Capability>)| {
            capabilities.retain(|capability| !self.has(*capability));
            (!capabilities.is_empty()).then_some(MissingCapability { subject, capabilities })
        };
        of_ports.chain(of_metrics).filter_map(lacks).collect()
    }
}

/// Capabilities that DPDK needs for a device.
fn of_device(device: &Device, root: &Path) -> Vec<Capability> {
    use Capability::{Bpf, NetAdmin, NetRaw, SysAdmin, SysRawio};
    let is_of_an_interface = !device.interfaces().is_empty();
    let mut needed = match device {
        _ if device.is_driven_by("net_af_xdp") => vec![NetAdmin, NetRaw, Bpf],
        _ if device.is_driven_by("net_tap") => vec![NetAdmin],
        _ if device.is_driven_by("net_af_packet") => vec![NetAdmin, NetRaw],
        _ if device.is_driven_by("net_pcap") && is_of_an_interface => vec![NetRaw],
        _ => Vec::new(),
    };
    let sys = root.join("sys");
    for address in device.pci_functions() {
        let function = PciFunction::new(&sys, address);
        match function.driver().as_deref() {
            // docs/hardware.md, mlx5.
            Some("mlx4_core" | "mlx5_core" | "mana") => needed.extend([NetAdmin, NetRaw]),
            // Without an IOMMU, the device is told physical addresses, which `/proc/self/pagemap` shows to few.
            Some("uio_pci_generic" | "igb_uio") => needed.extend([SysRawio, SysAdmin]),
            Some("vfio-pci") if function.is_without_iommu() => needed.extend([SysRawio, SysAdmin]),
            _ => {}
        }
    }
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// True if `vfio-pci` may take devices without an IOMMU.
pub fn is_without_iommu(sys: &Path) -> bool {
    let mode = fs::read_to_string(sys.join("module/vfio/parameters/enable_unsafe_noiommu_mode"));
    mode.is_ok_and(|mode| matches!(mode.trim(), "Y" | "1"))
}

/// Lowest port that every process may listen on.
fn first_free_port(root: &Path) -> u16 {
    let text = fs::read_to_string(root.join("proc/sys/net/ipv4/ip_unprivileged_port_start"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

impl MissingCapability {
    /// Fault in words, without its remedy.
    pub fn found(&self) -> String {
        let names = list(&self.capabilities, " and ");
        format!("{} needs {names}, which this process does not have", self.subject)
    }

    /// Command that gives the capabilities to this program.
    pub fn remedy(&self) -> String {
        self.remedy_for(&env::current_exe().unwrap_or_else(|_| "/usr/bin/guideway".into()))
    }

    fn remedy_for(&self, program: &Path) -> String {
        let names = list(&self.capabilities, ",").to_lowercase();
        format!("setcap {names}+ep {}", quoted(&program.to_string_lossy()))
    }
}

impl fmt::Display for MissingCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: run it as root, or `{}`; in a systemd unit, `AmbientCapabilities={}`",
            self.found(),
            self.remedy(),
            list(&self.capabilities, " ")
        )
    }
}

impl std::error::Error for MissingCapability {}

fn list(capabilities: &[Capability], separator: &str) -> String {
    capabilities.iter().map(Capability::to_string).collect::<Vec<_>>().join(separator)
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::IpcLock => "CAP_IPC_LOCK",
            Self::SysRawio => "CAP_SYS_RAWIO",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Bpf => "CAP_BPF",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const ALL: u64 = (1 << 41) - 1;

    /// Capabilities that are missing for a device by a process of this set, on a machine whose function has this driver.
    fn missing(effective: u64, device: &str, driver: &str, metrics: &str) -> Vec<String> {
        let root = tempfile::tempdir().expect("a directory of its own");
        let function = root.path().join("sys/bus/pci/devices/0000:3b:02.0");
        fs::create_dir_all(&function).expect("a folder can be made");
        symlink(format!("../drivers/{driver}"), function.join("driver")).expect("a link can be made");
        fs::create_dir_all(root.path().join("proc/self")).expect("a folder can be made");
        let status = format!("Name:\tguideway\nCapPrm:\t0000000000000000\nCapEff:\t{effective:016x}\n");
        fs::write(root.path().join("proc/self/status"), status).expect("a file can be written");
        let text =
            format!("[metrics]\nlisten = \"{metrics}\"\n[[port]]\nname = \"lan\"\ndevice = \"{device}\"\n");
        let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let missing = Capabilities::read(root.path()).missing(&config, root.path());
        missing.iter().map(MissingCapability::found).collect()
    }

    #[test]
    fn each_device_needs_what_its_driver_does() {
        for (device, driver, names) in [
            ("net_af_packet0,iface=eth0", "", "CAP_NET_ADMIN and CAP_NET_RAW"),
            ("net_pcap0,iface=eth0", "", "CAP_NET_RAW"),
            ("net_pcap0,rx_pcap=in.pcap", "", ""),
            ("net_af_xdp0,iface=eth0", "", "CAP_NET_ADMIN and CAP_NET_RAW and CAP_BPF"),
            ("net_tap0,iface=gw0", "", "CAP_NET_ADMIN"),
            ("net_null0", "", ""),
            ("0000:3b:02.0", "vfio-pci", ""),
            ("0000:3b:02.0", "mlx5_core", "CAP_NET_ADMIN and CAP_NET_RAW"),
            ("net_bonding0,mode=1,member=3b:02.0", "uio_pci_generic", "CAP_SYS_RAWIO and CAP_SYS_ADMIN"),
        ] {
            let expected = format!("port `lan` (`{device}`) needs {names}, which this process does not have");
            let expected = if names.is_empty() { Vec::new() } else { vec![expected] };
            assert_eq!(missing(0, device, driver, "127.0.0.1:9464"), expected, "{device}");
            assert!(missing(ALL, device, driver, "127.0.0.1:9464").is_empty(), "{device}");
        }
        let without_raw = ALL & !(1 << Capability::NetRaw as u32);
        assert_eq!(
            missing(without_raw, "net_af_packet0,iface=eth0", "", "127.0.0.1:9464"),
            ["port `lan` (`net_af_packet0,iface=eth0`) needs CAP_NET_RAW, which this process does not have"]
        );
    }

    #[test]
    fn a_listener_on_a_low_port_needs_one_too() {
        assert_eq!(
            missing(0, "net_null0", "", "127.0.0.1:80"),
            [
                "`[metrics] listen = \"127.0.0.1:80\"` needs CAP_NET_BIND_SERVICE, which this process does not \
                 have"
            ]
        );
    }

    #[test]
    fn the_error_names_command_and_unit() {
        let missing = MissingCapability {
            subject: "port `lan`".to_owned(),
            capabilities: vec![Capability::NetAdmin, Capability::NetRaw],
        };
        let text = missing.to_string();
        assert!(text.contains("run it as root, or `setcap cap_net_admin,cap_net_raw+ep /"), "{text}");
        assert!(text.ends_with("`AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW`"), "{text}");
        let command = missing.remedy_for(Path::new("/opt/a b;reboot/guideway"));
        assert_eq!(command, "setcap cap_net_admin,cap_net_raw+ep '/opt/a b;reboot/guideway'");
    }
}
