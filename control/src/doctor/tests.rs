//! Table of machines with one thing wrong, and the one finding that tells it.

mod answers;

use super::diagnose;
use super::facts::Facts;
use super::finding::{Finding, Level};
use super::text::text;
use super::tree::{TAP, Tree, on_interface, running};
use crate::api::view::{Port, PortState, RssState};
use crate::run::confinement::LandlockAbi;

const FUNCTION: &str = "sys/bus/pci/devices/0000:3b:02.0";
const NODE1: &str = "sys/devices/system/node/node1/hugepages/hugepages-2048kB";

/// Findings that are not `ok`, but the note that an appliance which does not run has no queues.
fn bad(facts: &Facts) -> Vec<Finding> {
    let found = diagnose(facts).findings;
    let is_usual = |finding: &Finding| finding.check == "queues" && finding.subject == "queues";
    found.into_iter().filter(|finding| finding.level != Level::Ok && !is_usual(finding)).collect()
}

#[test]
fn a_machine_on_which_nothing_is_wrong_has_no_finding() {
    let mut tree = Tree::healthy();
    assert_eq!(bad(&tree.facts()), []);
    on_interface(&mut tree);
    assert_eq!(bad(&tree.facts()), []);
    let mut tree = Tree::healthy();
    tree.status = Some(running());
    assert_eq!(bad(&tree.facts()), []);
}

/// A claim, the change of the machine, and of the finding: check, level, a part of what is found, and the remedy.
type Row = (&'static str, fn(&mut Tree), &'static str, Level, &'static str, &'static str);

const FILES: &[Row] = &[
    (
        "settings that can never be met are told",
        |tree| {
            tree.configure(
                "endpoints = [{ name = \"web-1\", ip_address = \"192.0.2.21\" }]",
                "endpoints = []",
            );
        },
        "configuration",
        Level::Warning,
        "service `web` has no backend",
        "add endpoints to its groups",
    ),
    (
        "strangers know the seed",
        |tree| tree.configure("seed = \"000102030405060708090a0b0c0d0e0f\"\n", ""),
        "configuration",
        Level::Warning,
        "EXTERNAL service `web` with the default seed",
        "set `[fleet] seed` or `seed_file` to the output of `openssl rand -hex 16`, the same on every appliance of the \
         fleet",
    ),
    (
        "the IOMMU is off, and nobody has asked for it",
        |tree| {
            tree.remove("sys/kernel/iommu_groups");
            tree.remove(&format!("{FUNCTION}/iommu_group"));
            tree.write("proc/cmdline", "quiet\n");
        },
        "iommu",
        Level::Fault,
        "command line has no option for it",
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&intel_iommu=on iommu=pt /' /etc/default/grub && update-grub",
    ),
    (
        "the IOMMU is off in the firmware",
        |tree| tree.remove("sys/kernel/iommu_groups"),
        "iommu",
        Level::Fault,
        "has `intel_iommu=on iommu=pt`",
        "dmesg | grep -iE 'dmar|iommu|amd-vi'",
    ),
    (
        "a virtual machine has no IOMMU",
        |tree| {
            tree.remove("sys/kernel/iommu_groups");
            tree.write("proc/cpuinfo", "flags : hypervisor\n");
        },
        "iommu",
        Level::Fault,
        "the IOMMU is off",
        "modprobe vfio-pci && echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
    ),
    (
        "devices without an IOMMU can write anywhere",
        |tree| {
            tree.remove("sys/kernel/iommu_groups");
            tree.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
        },
        "iommu",
        Level::Warning,
        "can then write anywhere",
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&intel_iommu=on iommu=pt /' /etc/default/grub && update-grub",
    ),
    (
        "vfio-pci is not loaded",
        Tree::unload_vfio_pci,
        "driver_binding",
        Level::Fault,
        "`vfio-pci` is not loaded",
        "modprobe vfio-pci && echo vfio-pci > /etc/modules-load.d/vfio-pci.conf",
    ),
    (
        "the kernel's driver has the function",
        |tree| tree.link(&format!("{FUNCTION}/driver"), "../../drivers/gve"),
        "driver_binding",
        Level::Fault,
        "bound to the kernel's driver `gve`",
        "dpdk-devbind.py --bind=vfio-pci 0000:3b:02.0",
    ),
    (
        "mlx5 keeps its kernel driver",
        |tree| tree.write(&format!("{FUNCTION}/vendor"), "0x15b3\n"),
        "driver_binding",
        Level::Fault,
        "beside the kernel's own driver",
        "dpdk-devbind.py --bind=mlx5_core 0000:3b:02.0",
    ),
    (
        "another function of the group has a kernel's driver",
        |tree| {
            tree.write("sys/kernel/iommu_groups/16/devices/0000:3b:02.1/vendor", "0x8086\n");
            tree.write("sys/kernel/iommu_groups/16/devices/0000:3a:00.0/vendor", "0x8086\n");
            for (address, class, driver) in
                [("3b:02.1", "0x020000", "iavf"), ("3a:00.0", "0x060400", "pcieport")]
            {
                tree.write(&format!("sys/bus/pci/devices/0000:{address}/class"), class);
                tree.link(&format!("sys/bus/pci/devices/0000:{address}/driver"), &format!("../{driver}"));
            }
        },
        "driver_binding",
        Level::Fault,
        "has 0000:3b:02.1 (`iavf`)",
        "dpdk-devbind.py --unbind 0000:3b:02.1",
    ),
    (
        "the PF's MTU is too short",
        |tree| tree.configure("ip_addresses", "mtu = 9000\nip_addresses"),
        "virtual_function",
        Level::Fault,
        "PF ens1f0 has an MTU of 1500, the port one of 9000",
        "ip link set ens1f0 mtu 9000",
    ),
    (
        "the PF is down",
        |tree| tree.write("sys/class/net/ens1f0/operstate", "down\n"),
        "virtual_function",
        Level::Fault,
        "PF ens1f0 is down",
        "ip link set ens1f0 up",
    ),
    (
        "the spoof check is on",
        |tree| tree.pf = tree.pf.replace("\"spoofchk\":false", "\"spoofchk\":true"),
        "virtual_function",
        Level::Note,
        "the spoof check is on",
        "ip link set ens1f0 vf 0 spoofchk off",
    ),
    (
        "the spoof check drops what a configured MAC address sends",
        |tree| {
            tree.pf = tree.pf.replace("\"spoofchk\":false", "\"spoofchk\":true");
            tree.configure("[[port]]", "[network]\nmac_address = \"02:00:00:00:00:09\"\n[[port]]");
        },
        "virtual_function",
        Level::Fault,
        "from `mac_address` 02:00:00:00:00:09",
        "ip link set ens1f0 vf 0 spoofchk off",
    ),
    (
        "an untrusted VF may be refused multicast",
        |tree| {
            tree.pf = tree.pf.replace("\"trust\":true", "\"trust\":false");
            tree.configure("\"192.0.2.1/24\"", "\"192.0.2.1/24\", \"2001:db8::1/64\"");
        },
        "virtual_function",
        Level::Warning,
        "IPv6 neighbours",
        "ip link set ens1f0 vf 0 trust on",
    ),
    (
        "an untrusted VF may not be promiscuous",
        |tree| {
            tree.pf = tree.pf.replace("\"trust\":true", "\"trust\":false");
            tree.configure("ip_addresses", "promiscuous = true\nip_addresses");
        },
        "virtual_function",
        Level::Fault,
        "may not be `promiscuous`",
        "ip link set ens1f0 vf 0 trust on",
    ),
    (
        "a VLAN of the PF is not seen",
        |tree| tree.pf = tree.pf.replace("\"vlan_list\":[]", "\"vlan_list\":[{\"vlan\":100}]"),
        "virtual_function",
        Level::Note,
        "VLAN 100",
        "",
    ),
    (
        "the PF shows the VF no link",
        |tree| tree.pf = tree.pf.replace("\"auto\"", "\"disable\""),
        "virtual_function",
        Level::Fault,
        "shows it no link",
        "ip link set ens1f0 vf 0 state auto",
    ),
    (
        "nobody tells what the PF allows",
        |tree| tree.pf = String::new(),
        "virtual_function",
        Level::Note,
        "`ip` does not tell",
        "ip -d link show dev ens1f0",
    ),
    (
        "there is no such interface",
        |tree| tree.configure("0000:3b:02.0", TAP),
        "link",
        Level::Fault,
        "no interface eth0",
        "ip -br link show",
    ),
    (
        "the interface is switched off",
        |tree| {
            on_interface(tree);
            tree.write("sys/class/net/eth0/flags", "0x1002\n");
        },
        "link",
        Level::Fault,
        "eth0 is switched off",
        "ip link set eth0 up",
    ),
    (
        "the interface has no link",
        |tree| {
            on_interface(tree);
            tree.write("sys/class/net/eth0/carrier", "0\n");
        },
        "link",
        Level::Fault,
        "eth0 has no link",
        "ip link show dev eth0",
    ),
    (
        "the interface takes shorter packets",
        |tree| {
            on_interface(tree);
            tree.write("sys/class/net/eth0/mtu", "1400\n");
        },
        "link",
        Level::Fault,
        "MTU of 1400",
        "ip link set eth0 mtu 1500",
    ),
    (
        "too few huge pages are free on the port's node",
        |tree| tree.write(&format!("{NODE1}/free_hugepages"), "3\n"),
        "huge_pages",
        Level::Fault,
        "free: 3 of 256 pages of 2 MiB",
        "echo 288 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
    ),
    (
        "pages of 1 GiB serve too, and none is none",
        |tree| {
            tree.write(&format!("{NODE1}/free_hugepages"), "0\n");
            tree.configure("control_core = 6", "control_core = 3");
            let gigantic = NODE1.replace("2048", "1048576");
            tree.write(&format!("{gigantic}/nr_hugepages"), "1\n");
            tree.write(&format!("{gigantic}/free_hugepages"), "0\n");
        },
        "huge_pages",
        Level::Fault,
        "free: 0 of 256 pages of 2 MiB, 0 of 1 pages of 1024 MiB",
        "echo 291 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
    ),
    (
        "ordinary pages are for tests",
        |tree| {
            on_interface(tree);
            tree.configure("[engine]", "[engine]\nno_huge = true");
        },
        "huge_pages",
        Level::Note,
        "`no_huge = true`",
        "",
    ),
    (
        "the conntrack table lies on small pages",
        |tree| tree.write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
        "huge_pages",
        Level::Warning,
        "pages of 4 KiB",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    ),
    (
        "a large table would be faster on pages of 1 GiB",
        |tree| tree.configure("max_entries = 1000000", "max_entries = 100000000"),
        "huge_pages",
        Level::Note,
        "2288 MiB on pages of 2 MiB",
        "echo 3 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
    ),
    (
        "the table takes more than there is",
        |tree| tree.write("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000 kB\n"),
        "memory",
        Level::Fault,
        "can have 7 MiB now",
        "[conntrack] max_entries = 170666",
    ),
    (
        "a core is not online",
        |tree| tree.write("sys/devices/system/cpu/online", "0-4,6-7\n"),
        "cores",
        Level::Fault,
        "not online: 5; online: 0-4,6-7",
        "chcpu -e 5",
    ),
    (
        "a core is not this process's",
        |tree| tree.write("proc/self/status", "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-3\n"),
        "cores",
        Level::Fault,
        "may not run on core 6, only on 0-3",
        "taskset -pc 4-6 $$",
    ),
    (
        "the control thread shares a worker's core",
        |tree| tree.configure("control_core = 6", "control_core = 5"),
        "cores",
        Level::Warning,
        "shares core 5",
        "[engine] control_core = 0",
    ),
    (
        "other threads run on workers' cores",
        |tree| {
            tree.write("sys/devices/system/cpu/isolated", "4\n");
            tree.write("proc/self/status", "Cpus_allowed_list:\t0-7\n");
        },
        "cores",
        Level::Warning,
        "on workers' core 5",
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&isolcpus=4-5 nohz_full=4-5 rcu_nocbs=4-5 /' /etc/default/grub && update-grub",
    ),
    (
        "the tick interrupts workers",
        |tree| tree.write("sys/devices/system/cpu/nohz_full", "\n"),
        "cores",
        Level::Note,
        "tick interrupts cores 4-5",
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&nohz_full=4-5 rcu_nocbs=4-5 /' /etc/default/grub && update-grub",
    ),
    (
        "workers are on another node than the port",
        |tree| tree.write(&format!("{FUNCTION}/numa_node"), "0\n"),
        "numa",
        Level::Warning,
        "workers on cores 4-5 are on another",
        "[engine] worker_cores = [0, 1, 2, 3]",
    ),
    (
        "an interrupt comes to a worker",
        |tree| tree.write("proc/irq/24/smp_affinity_list", "0-7\n"),
        "interrupts",
        Level::Warning,
        "interrupts to cores 4-5: 24 (ens1f0-TxRx-0)",
        "for irq in 24; do echo 0-3,6-7 > /proc/irq/$irq/smp_affinity_list; done",
    ),
    (
        "a governor lowers the frequency",
        |tree| tree.write("sys/devices/system/cpu/cpu5/cpufreq/scaling_governor", "powersave\n"),
        "governor",
        Level::Warning,
        "the governor `powersave` lowers the frequency of core 5",
        "for core in 5; do echo performance > /sys/devices/system/cpu/cpu$core/cpufreq/scaling_governor; done",
    ),
    (
        "the clock costs a system call",
        |tree| tree.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
        "clock_source",
        Level::Warning,
        "`hpet`: each look",
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    (
        "the kernel forwards a second copy",
        |tree| {
            on_interface(tree);
            tree.write("proc/sys/net/ipv4/ip_forward", "1\n");
        },
        "forwarding",
        Level::Warning,
        "forwards a second copy",
        "sysctl -w net.ipv4.ip_forward=0",
    ),
    (
        "the reverse path filter drops answers to health checks",
        |tree| {
            tree.configure(
                "type = \"TCP\"",
                "type = \"TCP\"\ntransport = \"kernel\"\nbind_device = \"eth1\"",
            );
            tree.write("proc/sys/net/ipv4/conf/eth1/rp_filter", "1\n");
        },
        "forwarding",
        Level::Note,
        "are dropped",
        "sysctl -w net.ipv4.conf.eth1.rp_filter=2",
    ),
    (
        "somebody listens on the exporter's address",
        |tree| tree.write("proc/net/tcp", "  sl  local_address\n 0: 00000000:2505 00000000:0000 0A 0:0\n"),
        "listeners",
        Level::Fault,
        "somebody listens on 0.0.0.0:9477 already",
        "ss -ltnp 'sport = :9477'",
    ),
    (
        "the kernel's Landlock is off",
        |tree| tree.write("sys/kernel/security/lsm", "lockdown,capability,yama"),
        "listeners",
        Level::Note,
        "listeners may reach every file",
        "cat /sys/kernel/security/lsm",
    ),
    (
        "the configuration lets the workers go",
        |tree| {
            tree.write("sys/kernel/security/lsm", "lockdown,capability,landlock");
            tree.config = tree.config.replace("[engine]\n", "[engine]\nconfine_workers = false\n");
        },
        "listeners",
        Level::Note,
        "`[engine] confine_workers = false`: workers may reach every file",
        "grep -n confine_workers guideway.toml",
    ),
    (
        "the interface that a port sends by is not there",
        |tree| {
            on_interface(tree);
            tree.configure(TAP, "net_pcap0,rx_iface=eth0,tx_iface=eth9");
        },
        "link",
        Level::Fault,
        "the kernel has no interface eth9",
        "ip -br link show",
    ),
    (
        "four queue pairs for two workers",
        |tree| {
            on_interface(tree);
            tree.configure(TAP, &format!("{TAP},qpairs=4"));
        },
        "queues",
        Level::Fault,
        "`qpairs=4`, and there are 2 workers",
        "device = \"net_af_packet0,iface=eth0,qpairs=2\"",
    ),
];

#[test]
fn one_thing_wrong_is_one_finding_with_the_command_that_mends_it() {
    for (claim, change, check, level, found, remedy) in FILES {
        let mut tree = Tree::healthy();
        change(&mut tree);
        let findings = bad(&tree.facts());
        let [finding] = &findings[..] else { panic!("{claim}: {findings:#?}") };
        assert_eq!((&*finding.check, finding.level), (*check, *level), "{claim}");
        assert!(finding.found.contains(found), "{claim}: {}", finding.found);
        assert_eq!(finding.remedy.as_deref().unwrap_or_default(), *remedy, "{claim}");
    }
}

#[test]
fn the_interface_of_landlock_and_what_it_leaves_out_are_told() {
    let tree = Tree::healthy();
    tree.write("sys/kernel/security/lsm", "lockdown,capability,landlock");
    for (abi, found) in [
        (7, "keeps listeners and workers from files (ABI 7)"),
        (4, "(ABI 4, which has no rules for commands to devices (Linux 6.10), abstract"),
    ] {
        let mut facts = tree.facts();
        facts.landlock_abi = Some(LandlockAbi(abi));
        let findings = diagnose(&facts).findings;
        let told = findings.iter().find(|finding| finding.subject == "Landlock").expect("it is looked at");
        assert!(told.level == Level::Ok && told.found.contains(found), "{}", told.found);
    }
}

#[test]
fn a_process_that_is_not_roots_is_told_what_it_lacks() {
    let mut tree = Tree::healthy();
    tree.write("proc/self/status", "CapEff:\t0000000000000000\nCpus_allowed_list:\t0-3,6-7\n");
    tree.write(
        "proc/self/limits",
        "Max locked memory         8388608              8388608              bytes\n",
    );
    let findings = bad(&tree.facts());
    let [finding] = &findings[..] else { panic!("{findings:#?}") };
    assert_eq!((&*finding.check, finding.level), ("capabilities", Level::Fault));
    assert_eq!(finding.remedy.as_deref(), Some("ulimit -l unlimited"));
    on_interface(&mut tree);
    let findings = bad(&tree.facts());
    let [finding] = &findings[..] else { panic!("{findings:#?}") };
    assert!(finding.found.ends_with("needs CAP_NET_ADMIN and CAP_NET_RAW, which this process does not have"));
}

/// A claim, the change of the running appliance's port, and of the finding: check, level, and a part of what is found.
type PortRow = (&'static str, fn(&mut Port), &'static str, Level, &'static str);

#[test]
fn the_running_appliance_tells_of_links_and_queues() {
    let table: [PortRow; 6] = [
        ("a link is down", |port| port.link_up = false, "link", Level::Fault, "its link is down"),
        (
            "a device is reset",
            |port| port.state = PortState::Resetting,
            "link",
            Level::Fault,
            "is being reset",
        ),
        ("a device is gone", |port| port.state = PortState::Removed, "link", Level::Fault, "is gone"),
        (
            "a device has refused queues",
            |port| (port.rx_queues, port.queue_refusals) = (1, vec!["2 queues: no".to_owned()]),
            "queues",
            Level::Note,
            "2 workers have 1 receive and 2 transmit queues, and share them in software (2 queues: no)",
        ),
        ("a device does not spread", |port| port.rss = false, "queues", Level::Note, "does not spread flows"),
        (
            "a device keeps its table",
            |port| {
                let refusal = Some("not supported".to_owned());
                let types = Vec::new();
                port.rss_state =
                    Some(RssState { types, symmetric: None, table_entries: None, table_refusal: refusal });
            },
            "queues",
            Level::Note,
            "keeps its own redirection table (not supported)",
        ),
    ];
    for (claim, change, check, level, found) in table {
        let mut tree = Tree::healthy();
        let mut status = running();
        change(&mut status.ports[0]);
        tree.status = Some(status);
        let findings = bad(&tree.facts());
        let [finding] = &findings[..] else { panic!("{claim}: {findings:#?}") };
        assert_eq!((&*finding.check, finding.level), (check, level), "{claim}");
        assert!(finding.found.contains(found), "{claim}: {}", finding.found);
    }
    let mut lent = Tree::healthy();
    lent.remove(&format!("{FUNCTION}/physfn"));
    lent.status = Some(running());
    let findings = bad(&lent.facts());
    assert!(matches!(&findings[..], [one] if one.found.contains("another machine has")), "{findings:#?}");
}

#[test]
fn the_text_has_the_worst_first_and_fits_80_columns() {
    let mut tree = Tree::healthy();
    tree.link(&format!("{FUNCTION}/driver"), "../../drivers/iavf");
    tree.write(&format!("{NODE1}/free_hugepages"), "3\n");
    tree.write("proc/irq/24/smp_affinity_list", "0-7\n");
    tree.pf = tree.pf.replace("\"trust\":true", "\"trust\":false");
    let text = text(&diagnose(&tree.facts()));
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let is_command = |line: &&str| line.starts_with("  mend");
    assert!(text.lines().filter(|line| !is_command(line)).all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}
