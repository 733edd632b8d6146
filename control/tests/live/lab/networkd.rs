//! systemd-networkd in a namespace: the program itself, with files of a test in place of the machine's.

use std::fs;
use std::path::Path;

use super::namespace::Namespace;
use super::process::Process;

/// Path of the program.
pub(crate) const PROGRAM: &str = "/lib/systemd/systemd-networkd";

/// Starts networkd in a namespace with the files of this folder as `/etc/systemd/network`.
///
/// The program sees a mount namespace of its own, in which `/sys` is read-only: it takes this for a container, and does not wait
/// for udev to name the devices. An empty `/run` keeps it from a bus and from another networkd.
pub(crate) fn start(namespace: &Namespace, directory: &Path, name: &str, files: &Path) -> Process {
    let state = directory.join(format!("{name}.netif"));
    for folder in ["links", "leases", "lldp"] {
        fs::create_dir_all(state.join(folder)).expect("the lab's directory can be written");
    }
    let script = format!(
        "mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/netif /run/systemd/network /etc/systemd/network
        mount --bind {state} /run/systemd/netif
        chown -R systemd-network:systemd-network /run/systemd/netif
        mount --bind {files} /etc/systemd/network
        mount -o remount,bind,ro /sys
        exec env SYSTEMD_LOG_TARGET=console {PROGRAM}",
        state = state.display(),
        files = files.display(),
    );
    let mut command = namespace.command("unshare");
    command.args(["--mount", "--propagation", "private", "--kill-child", "sh", "-eu", "-c", &script]);
    Process::start(directory, &format!("networkd-{name}"), command)
}
