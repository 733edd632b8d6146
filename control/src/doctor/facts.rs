//! Facts that checks are made of: files below `/sys` and `/proc`, the configuration, what the kernel and BIRD answer, and the
//! running appliance.

mod function;
mod interface;
mod interrupt;
mod listening;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use guideway_engine::driver::MempoolOptions;
use guideway_model::config::{Config, ConfigErrors, Hook, Sources, Transport};
use rustix::fs::Access;

use crate::announce;
use crate::api::admin::client::{Client, ClientError};
use crate::api::view::Status;
use crate::run::confinement::{LandlockAbi, NoLandlock, look_for_landlock};
use crate::run::machine::capabilities::{Capabilities, MissingCapability, is_without_iommu};
use crate::run::machine::cores::{Cores, NoCores, Usable};
use crate::run::machine::huge_pages::{HugePages, NodeWithoutPages, nodes_without_pages};
use crate::run::machine::memory::Memory;
use crate::run::machine::topology::{Topology, cores_in_list};
use crate::run::machine::{Machine, frame_memory};

pub use function::{Function, VfSettings, VirtualFunction};
pub use interface::Interface;
pub use interrupt::Interrupt;

/// Everything that checks look at.
#[derive(Debug, Default)]
pub struct Facts {
    /// Path of the configuration file.
    pub config_path: String,
    /// Configuration; none where the file cannot be read or is wrong. One without ports has an error, and is here.
    pub config: Option<Config>,
    /// Errors of the configuration file.
    pub config_errors: Vec<ConfigFault>,
    /// Admin socket that the running appliance was looked for on.
    pub socket: PathBuf,
    /// Status of the running appliance.
    pub status: Option<Status>,
    /// State of the admin socket where no appliance answers on it.
    pub admin_socket: AdminSocket,
    /// Fault for which the admin socket's folder cannot have one.
    pub socket_folder_fault: Option<String>,
    /// True if the program can drive ports: it is built with DPDK.
    pub has_live_ports: bool,
    /// Command line of the kernel.
    pub kernel_command_line: String,
    /// Number of IOMMU groups.
    pub iommu_groups: usize,
    /// True if `vfio-pci` takes devices without an IOMMU.
    pub is_without_iommu: bool,
    /// True if the kernel has loaded `vfio-pci`.
    pub has_vfio_pci: bool,
    /// Machine that the kernel runs on.
    pub processor: Processor,
    /// PCI functions of the ports, and of the members of their bonds.
    pub functions: Vec<Function>,
    /// Kernel's interfaces that the configuration names; `None` for those that are not there.
    pub interfaces: BTreeMap<String, Option<Interface>>,
    /// NUMA node of each port.
    pub port_nodes: Vec<Option<u8>>,
    /// Cores and their nodes.
    pub topology: Topology,
    /// Cores that this process may use.
    pub usable: Usable,
    /// Cores that the machine has, online or not; none where the kernel does not tell.
    pub present: Vec<usize>,
    /// Cores that are online.
    pub online: Vec<usize>,
    /// Cores without the kernel's tick (`nohz_full=`).
    pub nohz_full: Vec<usize>,
    /// Cores of control thread and workers, of the running appliance or as `run` would choose them.
    pub cores: Option<Cores>,
    /// Cause for which `run` would choose no cores.
    pub no_cores: Option<NoCores>,
    /// Governor of each core whose frequency the kernel sets.
    pub governors: BTreeMap<usize, String>,
    /// Interrupts that somebody handles.
    pub interrupts: Vec<Interrupt>,
    /// Clock source that the kernel uses; empty where it does not tell.
    pub clock_source: String,
    /// Clock sources that it could use.
    pub clock_sources: Vec<String>,
    /// Huge pages of each node and size.
    pub huge_pages: Vec<HugePages>,
    /// Ports on nodes without huge pages.
    pub nodes_without_pages: Vec<NodeWithoutPages>,
    /// Mempools that `run` makes.
    pub pools: Vec<MempoolOptions>,
    /// Setting of transparent huge pages: `always`, `madvise` or `never`; empty where the kernel does not tell.
    pub transparent_huge_pages: String,
    /// Memory of the machine and of the control group.
    pub memory: Memory,
    /// Capabilities of this process.
    pub capabilities: Capabilities,
    /// Capabilities that ports and listeners need and this process does not have.
    pub missing_capabilities: Vec<MissingCapability>,
    /// Bytes that this process may lock; none without a limit.
    pub lockable: Option<u64>,
    /// True if the kernel has Landlock, which keeps threads from files; none where it does not tell.
    pub has_landlock: Option<bool>,
    /// Interface of Landlock that the kernel has; none where nobody has asked for it.
    pub landlock_abi: Option<LandlockAbi>,
    /// Settings of the kernel's network below `/proc/sys/net`: `ipv4/ip_forward` and others.
    pub net_settings: BTreeMap<String, String>,
    /// Addresses of the kernel's interfaces.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Addresses that somebody listens on by TCP.
    pub listening: Vec<SocketAddr>,
    /// Answer of each hook of an announcement: words of BIRD, or an error.
    pub hooks: Vec<(Hook, Result<String, String>)>,
}

/// Error of a configuration file, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Path of the file, with line and column where there are any.
    pub place: String,
    /// Statement of the error.
    pub message: String,
    /// Remedy of the error.
    pub help: String,
}

/// Admin socket on which no appliance answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// Free socket: nobody listens.
    #[default]
    Free,
    /// File of another kind in its place.
    NotASocket,
    /// Socket that this process may not connect to.
    Forbidden,
    /// Appliance that hangs: a connection is taken, and nothing answered.
    Silent(String),
    /// Stranger, who answers as no appliance does.
    Stranger(String),
}

/// Processor, as far as remedies depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    /// True for a processor of AMD.
    pub is_amd: bool,
    /// True in a virtual machine.
    pub is_virtual: bool,
}

impl Facts {
    /// Looks at this machine and at the appliance that listens on `socket`, or on that of the configuration. `name` is the
    /// path of the configuration, and `text` what it says, or why it cannot be read.
    pub async fn look(name: &str, sources: Result<&Sources, &io::Error>, socket: Option<&Path>) -> Self {
        let (config, errors) = read_config(name, sources);
        let default = guideway_model::config::Admin::DEFAULT_SOCKET;
        let configured = config.as_ref().map_or(Path::new(default), |config| &config.admin.socket);
        let socket = socket.unwrap_or(configured).to_owned();
        let (status, admin_socket) = ask_appliance(&socket).await;
        let mut hooks = Vec::new();
        for hook in hooks_of(config.as_ref()) {
            let answer = announce::look(&hook).await;
            hooks.push((hook, answer));
        }
        let root = Path::new("/");
        let mut facts = Self::of_files(root, config, status);
        facts.config_path = name.to_owned();
        facts.config_errors = errors;
        facts.admin_socket = admin_socket;
        facts.socket_folder_fault = folder_fault(&socket);
        facts.socket = socket;
        facts.hooks = hooks;
        facts.addresses = Machine::look().addresses;
        facts.functions.iter_mut().for_each(Function::ask_pf);
        match look_for_landlock() {
            Ok(abi) => (facts.has_landlock, facts.landlock_abi) = (Some(true), Some(abi)),
            Err(NoLandlock::Missing | NoLandlock::Disabled) => facts.has_landlock = Some(false),
            Err(NoLandlock::Refused(_)) => {}
        }
        facts
    }

    /// Reads the files below `root`, which is `/` but for tests.
    pub fn of_files(root: &Path, config: Option<Config>, status: Option<Status>) -> Self {
        let sys = root.join("sys");
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default().trim().to_owned();
        let cores_in = |path: &str| cores_in_list(&text(path));
        let topology = Topology::read(&sys);
        let status_of_process = text("proc/self/status");
        let allowed = status_of_process.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let usable = Usable {
            allowed: cores_in_list(allowed.unwrap_or_default()),
            isolated: topology.isolated().to_vec(),
        };
        let cpuinfo = text("proc/cpuinfo");
        let capabilities = Capabilities::read(root);
        let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        let governor = |entry: fs::DirEntry| {
            let core = entry.file_name().to_str()?.strip_prefix("cpu")?.parse().ok()?;
            let text = fs::read_to_string(entry.path().join("cpufreq/scaling_governor")).ok()?;
            Some((core, text.trim().to_owned()))
        };
        let mut facts = Self {
            kernel_command_line: text("proc/cmdline"),
            iommu_groups: entries(sys.join("kernel/iommu_groups")).count(),
            is_without_iommu: is_without_iommu(&sys),
            has_vfio_pci: ["module/vfio_pci", "bus/pci/drivers/vfio-pci"]
                .iter()
                .any(|path| sys.join(path).exists()),
            processor: Processor {
                is_amd: cpuinfo.contains("AuthenticAMD"),
                is_virtual: cpuinfo.split_whitespace().any(|flag| flag == "hypervisor"),
            },
            has_live_ports: cfg!(feature = "dpdk"),
            present: cores_in("sys/devices/system/cpu/present"),
            online: cores_in("sys/devices/system/cpu/online"),
            nohz_full: cores_in("sys/devices/system/cpu/nohz_full"),
            governors: entries(sys.join("devices/system/cpu")).filter_map(governor).collect(),
            interrupts: interrupt::read(root),
            clock_source: text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            clock_sources: text("sys/devices/system/clocksource/clocksource0/available_clocksource")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            huge_pages: HugePages::read(root),
            transparent_huge_pages: chosen(&text("sys/kernel/mm/transparent_hugepage/enabled")),
            memory: Memory::read(root),
            capabilities,
            has_landlock: has_landlock(&text("sys/kernel/security/lsm")),
            lockable: lockable(&text("proc/self/limits")),
            listening: listening::read(root),
            net_settings: net_settings(root),
            usable,
            topology,
            status,
            ..Self::default()
        };
        if let Some(config) = config {
            facts.read_for(&config, root);
            facts.config = Some(config);
        }
        facts
    }

    /// Reads what depends on the configuration.
    fn read_for(&mut self, config: &Config, root: &Path) {
        let sys = root.join("sys");
        self.socket.clone_from(&config.admin.socket);
        self.port_nodes =
            config.ports.iter().map(|port| self.topology.node_of_device(&port.device)).collect();
        self.functions = function::of_ports(config, &sys);
        self.interfaces = interfaces(config, &sys);
        self.nodes_without_pages = nodes_without_pages(config, &self.topology).collect();
        self.missing_capabilities = self.capabilities.missing(config, root);
        let running = self.status.as_ref().filter(|status| !status.workers.is_empty());
        let cores = match running {
            Some(status) => {
                let workers = status.workers.iter().map(|worker| worker.core as usize).collect();
                Cores::among(&config.engine, &self.usable, &self.topology, &self.port_nodes)
                    .map(|chosen| Cores { workers, ..chosen })
            }
            None => Cores::among(&config.engine, &self.usable, &self.topology, &self.port_nodes),
        };
        match cores {
            Ok(cores) => {
                self.pools = frame_memory::pools(config, cores.workers.len(), &self.topology);
                self.cores = Some(cores);
            }
            Err(cause) => self.no_cores = Some(cause),
        }
    }

    /// Cores of the workers; none where `run` would choose none.
    pub fn workers(&self) -> &[usize] {
        self.cores.as_ref().map_or(&[], |cores| &cores.workers)
    }

    /// True if an appliance runs, though it may not answer: it has its cores, pages and listeners.
    pub fn is_running(&self) -> bool {
        self.status.is_some() || self.is_silent()
    }

    /// True if an appliance runs that does not answer.
    pub fn is_silent(&self) -> bool {
        matches!(self.admin_socket, AdminSocket::Silent(_))
    }
}

/// True if Landlock is among the kernel's security modules, as it lists them.
fn has_landlock(modules: &str) -> Option<bool> {
    (!modules.is_empty()).then(|| modules.split(',').any(|module| module == "landlock"))
}

/// Configuration of these texts, and all for which `run` refuses it. One that only lacks ports is looked at all the same.
fn read_config(name: &str, sources: Result<&Sources, &io::Error>) -> (Option<Config>, Vec<ConfigFault>) {
    let sources = match sources {
        Ok(sources) => sources,
        Err(error) => {
            let (place, help) = (name.to_owned(), "guideway doctor --config FILE".to_owned());
            return (None, vec![ConfigFault { place, message: format!("cannot be read: {error}"), help }]);
        }
    };
    match Config::parse_to_run(sources) {
        Ok(config) => (Some(config), Vec::new()),
        Err(errors) => (Config::parse_sources(sources).ok(), faults(&errors)),
    }
}

fn faults(errors: &ConfigErrors) -> Vec<ConfigFault> {
    let fault = |error: &guideway_model::config::ConfigError| ConfigFault {
        place: format!("{}:{}:{}", error.file.as_deref().unwrap_or(errors.name()), error.line, error.column),
        message: error.message.clone(),
        help: error.help.clone(),
    };
    errors.errors().iter().map(fault).collect()
}

/// Status of the appliance on a socket, or the state of the socket.
async fn ask_appliance(socket: &Path) -> (Option<Status>, AdminSocket) {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    use std::os::unix::fs::FileTypeExt;
    let file = fs::symlink_metadata(socket);
    if file.is_ok_and(|file| !file.file_type().is_socket()) {
        return (None, AdminSocket::NotASocket);
    }
    match Client::new(socket).status().await {
        Ok(status) => (Some(status), AdminSocket::Free),
        Err(ClientError::Unreachable(_, error)) => match error.kind() {
            NotFound | ConnectionRefused => (None, AdminSocket::Free),
            PermissionDenied => (None, AdminSocket::Forbidden),
            _ => (None, AdminSocket::Stranger(error.to_string())),
        },
        Err(error @ ClientError::Late(_)) => (None, AdminSocket::Silent(error.to_string())),
        Err(error) => (None, AdminSocket::Stranger(error.to_string())),
    }
}

/// Fault for which nobody could make a socket in its folder, or the folder: that above it which is there is asked.
fn folder_fault(socket: &Path) -> Option<String> {
    let above = socket.ancestors().skip(1);
    let mut above = above.map(|folder| if folder == Path::new("") { Path::new(".") } else { folder });
    let folder = above.find(|folder| folder.exists())?;
    let shown = folder.display();
    if !folder.is_dir() {
        return Some(format!("{shown} is no folder"));
    }
    let access = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
    access.err().map(|_| format!("this process may not write to {shown}"))
}

/// Hooks of the announcements, each once.
fn hooks_of(config: Option<&Config>) -> Vec<Hook> {
    let announcements = config.into_iter().flat_map(|config| &config.announcements);
    let hooks: std::collections::BTreeSet<Hook> = announcements.map(|one| one.hook.clone()).collect();
    hooks.into_iter().collect()
}

/// Kernel's interfaces that devices and health checks name.
fn interfaces(config: &Config, sys: &Path) -> BTreeMap<String, Option<Interface>> {
    let of_ports = config.ports.iter().filter(|port| !port.device.is_driven_by("net_tap"));
    let of_ports = of_ports.flat_map(|port| port.device.interfaces());
    let of_checks = config.health_checks.iter().filter_map(|check| match &check.transport {
        Transport::Kernel { bind_device, .. } => bind_device.as_deref(),
        Transport::InPath => None,
    });
    // A name of the kernel's, not a path.
    let names = of_ports.chain(of_checks).filter(|name| !name.contains('/'));
    names.map(|name| (name.to_owned(), Interface::read(sys, name))).collect()
}

/// Word in brackets, which the kernel puts around the one of several that holds.
fn chosen(text: &str) -> String {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or_else(String::new, |(word, _)| word.to_owned())
}

/// Bytes of `Max locked memory`, the soft limit; none where it is unlimited.
fn lockable(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    line?.split_whitespace().next()?.parse().ok()
}

/// Settings of the kernel's network that checks look at.
fn net_settings(root: &Path) -> BTreeMap<String, String> {
    let net = root.join("proc/sys/net");
    let mut names = vec!["ipv4/ip_forward".to_owned(), "ipv6/conf/all/forwarding".to_owned()];
    for entry in fs::read_dir(net.join("ipv4/conf")).into_iter().flatten().flatten() {
        if let Some(interface) = entry.file_name().to_str() {
            names.push(format!("ipv4/conf/{interface}/rp_filter"));
        }
    }
    let read = |name: String| {
        let text = fs::read_to_string(net.join(&name)).ok()?;
        Some((name, text.trim().to_owned()))
    };
    names.into_iter().filter_map(read).collect()
}
