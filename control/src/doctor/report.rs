//! Report of a machine, to be sent to the project: one text file with what tells of its devices, their drivers and the appliance.
//!
//! Only looks are taken: files below `/sys` and `/proc`, programs that show something, and the running appliance's answers. A
//! program that is not there, or a file that cannot be read, is said in its place.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use guideway_model::config::Sources;
use serde::Serialize;

use super::facts::{AdminSocket, Facts};
use super::finding::Diagnosis;
use super::mask;
use super::secrets::Redacted;
use super::text::text;
use crate::api::admin::client::{Client, ClientError};

/// First digits of the class of a network device.
const NETWORK: &str = "0x02";

/// Files of a PCI function that are shown, as far as it has them.
const FUNCTION_FILES: [&str; 14] = [
    "vendor",
    "device",
    "subsystem_vendor",
    "subsystem_device",
    "revision",
    "class",
    "numa_node",
    "max_link_speed",
    "current_link_speed",
    "max_link_width",
    "current_link_width",
    "sriov_totalvfs",
    "sriov_numvfs",
    "local_cpulist",
];

/// Files of the machine that are shown, below `/`.
const MACHINE_FILES: [&str; 12] = [
    "proc/version",
    "proc/cmdline",
    "etc/os-release",
    "proc/meminfo",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/nohz_full",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
    "sys/class/dmi/id/product_name",
    "proc/interrupts",
];

/// Words of the kernel's log that tell of devices.
const LOG_WORDS: [&str; 12] = [
    "vfio",
    "iommu",
    "dmar",
    "amd-vi",
    "ixgbe",
    "i40e",
    "iavf",
    "mlx5",
    "igb",
    "virtio_net",
    "vmxnet3",
    "gve",
];

/// Largest log that is read, in bytes; of a larger file, the end.
pub const MAX_LOG_BYTES: u64 = 128 << 20;

/// Lines of a log that are kept: the last ones.
const LOG_LINES: usize = 500;

/// Inputs of a report beside the machine's files.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Result of all checks.
    pub diagnosis: &'a Diagnosis,
    /// Texts of the configuration, or why they could not be read.
    pub config: Result<Sources, String>,
    /// Answers of the running appliance: a name and JSON, or why there is none.
    pub answers: Vec<(&'static str, Result<String, String>)>,
    /// Log of the appliance's start, or why there is none.
    pub log: Result<String, String>,
    /// Version of DPDK that the program was built with.
    pub dpdk: String,
}

/// Reads the end of a log, of `limit` bytes at most.
///
/// # Errors
/// The file cannot be read; one that has no end that could be gone to, as a pipe, is longer than the limit.
pub fn read_log(path: &Path, limit: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    if metadata.is_file() {
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(limit)))?;
        file.take(limit).read_to_end(&mut bytes)?;
    } else {
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("it is no regular file, and longer than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks the running appliance for what a report shows of it; one that has not answered once is asked no more.
pub async fn answers(facts: &Facts) -> Vec<(&'static str, Result<String, String>)> {
    let client = Client::new(&facts.socket);
    fn json<T: Serialize>(answer: Result<T, ClientError>) -> Result<String, String> {
        let view = answer.map_err(|error| error.to_string())?;
        serde_json::to_string_pretty(&view).map_err(|error| error.to_string())
    }
    if let AdminSocket::Silent(error) = &facts.admin_socket {
        return ["status", "stats", "xstats", "drops"].map(|name| (name, Err(error.clone()))).into();
    }
    vec![
        ("status", json(client.status().await)),
        ("stats", json(client.stats().await)),
        ("xstats", json(client.xstats().await)),
        ("drops", json(client.drops().await)),
    ]
}

/// Runs a program that shows something.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C");
    match command.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(format!("ended with {}", output.status)),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes the report of the machine below `root`, which is `/` but for tests; `run` runs programs. With `is_masked`, addresses
/// are replaced by numbers, each by the same one everywhere.
pub fn write(
    root: &Path,
    run: impl Fn(&str, &[&str]) -> Result<String, String>,
    inputs: &Inputs<'_>,
    is_masked: bool,
) -> String {
    let mut report = Report { text: String::new() };
    report.section("program", &format!("guideway {}\nDPDK: {}\n", env!("CARGO_PKG_VERSION"), inputs.dpdk));
    report.section("checks", &text(inputs.diagnosis));
    for file in MACHINE_FILES {
        report.read(root, file);
    }
    let groups = fs::read_dir(root.join("sys/kernel/iommu_groups")).map_or(0, Iterator::count);
    report.section("IOMMU groups", &format!("{groups}\n"));
    let mut interfaces = Vec::new();
    for (address, text, names) in functions(root) {
        report.section(&format!("PCI function {address}"), &text);
        report.answer(&format!("lspci -nnvv -s {address}"), run("lspci", &["-nnvv", "-s", &address]));
        interfaces.extend(names);
    }
    for interface in &interfaces {
        for option in ["-i", "-l", "-x", "-k", "-S"] {
            report.answer(&format!("ethtool {option} {interface}"), run("ethtool", &[option, interface]));
        }
    }
    for (program, arguments) in [
        ("ip", &["-d", "link", "show"][..]),
        ("lscpu", &[]),
        ("dpdk-devbind.py", &["--status-dev", "net"]),
        ("dpkg-query", &["-W", "librte-*", "libdpdk*", "dpdk*", "linux-image-*"]),
    ] {
        let line = [&[program], arguments].concat().join(" ");
        report.answer(&line, run(program, arguments));
    }
    report.answer("dmesg, of devices", run("dmesg", &[]).map(|log| lines_of_devices(&log)));
    for (name, answer) in &inputs.answers {
        report.answer(&format!("running appliance: {name}"), answer.clone());
    }
    let config = inputs.config.as_ref().map(|config| Redacted::of_files(config.files()));
    report
        .answer("configuration", config.as_ref().map(|config| config.text.clone()).map_err(|e| (*e).clone()));
    report
        .answer("log of the appliance", inputs.log.as_ref().map(|log| last_lines(log)).map_err(Clone::clone));
    let text = config.map_or_else(|_| report.text.clone(), |config| config.clear(&report.text));
    if is_masked { mask::addresses(&text) } else { text }
}

/// Text of a report, section by section.
struct Report {
    text: String,
}

impl Report {
    fn section(&mut self, title: &str, text: &str) {
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        let _ = write!(self.text, "== {title}\n{text}{end}\n");
    }

    fn answer(&mut self, title: &str, answer: Result<String, String>) {
        match answer {
            Ok(text) => self.section(title, &text),
            Err(error) => self.section(title, &format!("(none: {error})\n")),
        }
    }

    fn read(&mut self, root: &Path, file: &str) {
        let text = fs::read_to_string(root.join(file)).map_err(|error| error.to_string());
        self.answer(&format!("/{file}"), text);
    }
}

/// Network devices on PCI: address, what the kernel tells of each, and its interfaces.
fn functions(root: &Path) -> Vec<(String, String, Vec<String>)> {
    let entries = fs::read_dir(root.join("sys/bus/pci/devices")).into_iter().flatten().flatten();
    let function = |entry: fs::DirEntry| {
        let directory = entry.path();
        let read = |file: &str| Some(fs::read_to_string(directory.join(file)).ok()?.trim().to_owned());
        let link = |file: &str| {
            Some(fs::read_link(directory.join(file)).ok()?.file_name()?.to_string_lossy().into_owned())
        };
        read("class").filter(|class| class.starts_with(NETWORK))?;
        let mut text = String::new();
        for file in FUNCTION_FILES {
            if let Some(value) = read(file) {
                let _ = writeln!(text, "{file:<20} {value}");
            }
        }
        for file in ["driver", "iommu_group", "physfn"] {
            let _ = writeln!(text, "{file:<20} {}", link(file).unwrap_or_else(|| "-".to_owned()));
        }
        let interfaces = fs::read_dir(directory.join("net")).into_iter().flatten().flatten();
        let interfaces: Vec<String> =
            interfaces.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for interface in &interfaces {
            for file in ["operstate", "mtu", "speed", "carrier_changes"] {
                if let Some(value) = read(&format!("net/{interface}/{file}")) {
                    let _ = writeln!(text, "{:<20} {value}", format!("{interface} {file}"));
                }
            }
        }
        Some((entry.file_name().into_string().ok()?, text, interfaces))
    };
    let mut functions: Vec<_> = entries.filter_map(function).collect();
    functions.sort();
    functions
}

/// Lines of the kernel's log about devices and the IOMMU.
fn lines_of_devices(log: &str) -> String {
    let is_of_devices = |line: &&str| {
        let line = line.to_ascii_lowercase();
        LOG_WORDS.iter().any(|word| line.contains(word))
    };
    last_lines(&log.lines().filter(is_of_devices).collect::<Vec<_>>().join("\n"))
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::diagnose;
    use crate::doctor::tree::{SEED, Tree};

    fn report(is_masked: bool) -> String {
        let tree = Tree::healthy();
        for (file, text) in [("class", "0x020000\n"), ("vendor", "0x8086\n"), ("device", "0x1889\n")] {
            tree.write(&format!("sys/bus/pci/devices/0000:3b:02.0/{file}"), text);
        }
        tree.write("sys/bus/pci/devices/0000:3b:00.0/class", "0x020000\n");
        tree.write("sys/bus/pci/devices/0000:3b:00.0/net/ens1f0/speed", "25000\n");
        tree.write("sys/bus/pci/devices/0000:00:00.0/class", "0x060000\n");
        let run = |program: &str, arguments: &[&str]| match program {
            "ip" => Ok("2: ens1f0: link/ether 02:00:00:00:00:01\n".to_owned()),
            "dmesg" => {
                Ok("[1] vfio-pci 0000:3b:02.0: enabling\n[2] usb 1-1: a mouse of somebody\n".to_owned())
            }
            "ethtool" => Ok(format!("{} of {}\n", arguments[0], arguments[1])),
            _ => Err("no such program".to_owned()),
        };
        let inputs = Inputs {
            diagnosis: &diagnose(&tree.facts()),
            config: Ok(Sources::of_text("guideway.toml", tree.config.replace(SEED, "0011aabbcc"))),
            answers: vec![("status", Ok("{\"mac\": \"02:00:00:00:00:01\"}".to_owned()))],
            log: Ok("EAL: Probe PCI driver: net_iavf (8086:1889) device: 0000:3b:02.0\n0011aabbcc".to_owned()),
            dpdk: "22.11".to_owned(),
        };
        write(tree.root(), run, &inputs, is_masked)
    }

    #[test]
    fn a_report_has_devices_programs_answers_and_log() {
        let report = report(false);
        for part in [
            "== PCI function 0000:3b:00.0\n",
            "ens1f0 speed         25000\n",
            "== PCI function 0000:3b:02.0\nvendor               0x8086\ndevice               0x1889\n",
            "driver               vfio-pci\niommu_group          16\n",
            "== ethtool -x ens1f0\n-x of ens1f0\n",
            "== lscpu\n(none: no such program)\n",
            "== dmesg, of devices\n[1] vfio-pci 0000:3b:02.0: enabling\n\n",
            "== running appliance: status\n{\"mac\": \"02:00:00:00:00:01\"}\n",
            "seed = \"(left out)\"\n",
            "== log of the appliance\nEAL: Probe PCI driver",
            "ok         iommu: kernel: the IOMMU is on",
        ] {
            assert!(report.contains(part), "{part}\n{report}");
        }
        assert!(!report.contains("0000:00:00.0") && !report.contains("0011"), "{report}");
    }

    #[test]
    fn of_a_long_log_the_end_is_read_and_an_endless_file_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("there is a directory for such");
        fs::write(file.path(), "first\nlast\n").expect("it can be written");
        assert_eq!(read_log(file.path(), 5).expect("it can be read"), "last\n");
        assert_eq!(read_log(file.path(), 100).expect("it can be read"), "first\nlast\n");
        let error = read_log(Path::new("/dev/zero"), 5).expect_err("it has no end");
        assert_eq!(error.to_string(), "it is no regular file, and longer than 5 bytes");
        assert_eq!(read_log(Path::new("/dev/null"), 5).expect("it is empty"), "");
    }

    #[test]
    fn a_masked_report_has_no_addresses_and_the_devices_all_the_same() {
        let report = report(true);
        for address in ["192.0.2.1", "203.0.113.10", "192.0.2.21", "02:00:00:00:00:01"] {
            assert!(!report.contains(address), "{address}\n{report}");
        }
        assert_eq!(report.matches("(mac-1)").count(), 2, "{report}");
        assert!(
            report.contains("ip_addresses = [\"(ipv4-") && report.contains("device: 0000:3b:02.0"),
            "{report}"
        );
    }
}
