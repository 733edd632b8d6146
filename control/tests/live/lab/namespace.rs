//! A network namespace: a host of its own as far as packets go.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// First part of the names of namespaces and directories; the number of the process that made them follows.
const PREFIX: &str = "guideway-lab";
/// Directory in which `ip netns` keeps namespaces.
const DIRECTORY: &str = "/run/netns";

/// One namespace; it is deleted with the value.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with nothing in it but `lo`.
    pub(crate) fn new(lab: usize, role: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces and devices: run them as root"
        );
        static LEFTOVERS: Once = Once::new();
        LEFTOVERS.call_once(remove_leftovers);
        let name = format!("{}{lab}-{role}", prefix());
        ip(&["netns", "add", &name], "");
        let namespace = Self { name };
        // For all hosts of a lab. None is a router, though namespaces inherit it where the machine is one.
        // Addresses are usable at once, and paths need not be symmetric.
        namespace.set("ipv4/ip_forward", "0");
        namespace.set("ipv6/conf/default/accept_dad", "0");
        namespace.set("ipv4/conf/all/rp_filter", "0");
        namespace.set("ipv4/conf/default/rp_filter", "0");
        namespace.ip("link set lo up\n");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread in the namespace. Sockets that it opens stay there, whichever thread uses them later.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            self.door().enter();
            work()
        };
        thread::scope(|scope| scope.spawn(entered).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Door into the namespace, for a thread that lives on.
    pub(crate) fn door(&self) -> Door {
        Door(Path::new(DIRECTORY).join(&self.name))
    }

    /// Command that runs a program in the namespace; the program is killed when the thread that started it ends.
    pub(crate) fn command(&self, program: &str) -> Command {
        // `ip` and `setpriv` are replaced by the next program in turn, so the child's process id is the program's.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "setpriv", "--pdeathsig", "KILL", "--", program]);
        command
    }

    /// Runs lines of `ip` in the namespace.
    pub(crate) fn ip(&self, lines: &str) {
        ip(&["-n", &self.name, "-batch", "-"], lines);
    }

    /// MAC address of a device.
    pub(crate) fn mac(&self, device: &str) -> String {
        self.attribute(device, "address")
    }

    /// Index of a device.
    pub(crate) fn index(&self, device: &str) -> String {
        self.attribute(device, "ifindex")
    }

    fn attribute(&self, device: &str, name: &str) -> String {
        let mut command = self.command("cat");
        let output =
            command.arg(format!("/sys/class/net/{device}/{name}")).output().expect("`ip` can be run");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes a setting below /proc/sys/net, which shows each thread its own namespace's settings.
    pub(crate) fn set(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(key);
        let written = self.inside(|| fs::write(&path, value));
        written.unwrap_or_else(|error| panic!("cannot write {value} to {}: {error}", path.display()));
    }

    /// Turns off a device's offloads, so that frames on the wire are whole and have right checksums, or are lost.
    pub(crate) fn without_offloads(&self, device: &str) {
        let features = ["rx", "off", "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
        let output = self.command("ethtool").args(["-K", device]).args(features).output();
        let output = output.expect("`ip` can be run, as it has made the namespace");
        assert!(output.status.success(), "ethtool -K {device}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Path into a namespace, which a thread enters for good.
#[derive(Clone, Debug)]
pub(crate) struct Door(PathBuf);

impl Door {
    /// Moves the calling thread into the namespace.
    pub(crate) fn enter(&self) {
        let file = File::open(&self.0);
        let file = file.unwrap_or_else(|error| panic!("cannot open {}: {error}", self.0.display()));
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .unwrap_or_else(|error| panic!("cannot enter {}: {error}", self.0.display()));
    }
}

/// Runs `ip`, which must succeed.
fn ip(arguments: &[&str], input: &str) {
    let spawned = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("cannot run `ip` (of iproute2): {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A failed write means that `ip` has ended; its standard error says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {} failed: {said}{input}", arguments.join(" "));
}

/// Prefix of the names of everything that this process makes.
pub(crate) fn prefix() -> String {
    format!("{PREFIX}-{}-", std::process::id())
}

/// Removes namespaces and directories that killed runs have left; the kernel removes devices with their namespace.
fn remove_leftovers() {
    left_in(Path::new(DIRECTORY)).for_each(|name| delete(&name));
    let directory = std::env::temp_dir();
    for name in left_in(&directory) {
        let _ = fs::remove_dir_all(directory.join(name));
    }
}

/// Names in a directory that belong to processes that have ended.
fn left_in(directory: &Path) -> impl Iterator<Item = String> {
    let is_left = |name: &String| {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        let owner = owner.and_then(|owner| owner.parse::<u32>().ok());
        owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists())
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_left)
}

fn delete(name: &str) {
    let output = Command::new("ip").args(["netns", "delete", name]).output();
    if let Ok(output) = output
        && !output.status.success()
    {
        eprintln!("ip netns delete {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
