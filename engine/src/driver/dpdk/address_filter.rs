//! Addresses whose frames a device takes: the appliance's own MAC address, and the groups that it listens to.
//!
//! Devices differ in what they can be asked for, and a VF in what its PF grants. What is asked for, in which order, and what
//! an operator is told of it is decided here, by the results of calls: pure, and tried without a device.

use guideway_dataplane::wire::ethernet::MacAddress;
use rustix::io::Errno;

/// Result of a call to a driver that has no such function; its device then takes what it takes.
pub(super) const NOT_SUPPORTED: i32 = -Errno::NOTSUP.raw_os_error();

/// Addresses that a port takes frames for.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    /// MAC address of the appliance; None for the device's own.
    pub(super) mac: Option<MacAddress>,
    /// Groups that the appliance listens to.
    pub(super) groups: Vec<MacAddress>,
    /// Remark that was made last on how the device takes its groups.
    pub(super) remark: Option<String>,
}

/// Calls to a driver, each with its result: 0, or a negative error number.
pub(super) trait Filter {
    /// Takes all multicast frames, or no longer does.
    fn take_all_groups(&mut self, on: bool) -> i32;
    /// Takes the frames of these groups.
    fn take_groups(&mut self, groups: &[MacAddress]) -> i32;
    /// Takes all frames.
    fn take_everything(&mut self) -> i32;
    /// Makes an address the device's own.
    fn change_address(&mut self, mac: MacAddress) -> i32;
    /// Takes the frames for an address besides those for the device's own.
    fn add_address(&mut self, mac: MacAddress) -> i32;
}

/// Kind of a device, as far as its filter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// PCI function with a filter of its own.
    Physical,
    /// Virtual function, whose filter its PF may refuse to change, without a word.
    Vf,
    /// Interface that the kernel has too, which keeps the address of its own.
    Kernel,
    /// Bond of ports, which drops broadcast frames as well by LACP unless it takes all multicast ones.
    Bond,
    /// Other virtual device.
    Virtual,
}

impl Kind {
    /// Kind of a device with this driver; `has_pf` is true where the kernel names the PF of a PCI function.
    pub(super) fn of(is_pci: bool, driver: &str, has_pf: bool) -> Self {
        match driver {
            // In a virtual machine a VF's PF is out of sight.
            _ if is_pci && (has_pf || driver.contains("vf")) => Self::Vf,
            _ if is_pci => Self::Physical,
            "net_af_packet" | "net_af_xdp" | "net_pcap" | "net_tap" => Self::Kernel,
            "net_bonding" => Self::Bond,
            _ => Self::Virtual,
        }
    }
}

/// Groups that any driver of a VF tells its PF of: a message of igb's and ixgbe's holds no more.
const LONGEST_LIST: usize = 30;

/// Has a device take the frames of `groups`, as its driver can; returns a sentence for the operator if that is less, or
/// more, than it should be.
///
/// Without groups nothing but all multicast is asked for: nobody knows yet which are needed. A VF is told its groups, and is
/// then to take no others: a PF may grant either and say yes to both, and where both are in force some NICs go by all
/// multicast alone, which QEMU's igb does not know.
pub(super) fn listen(filter: &mut impl Filter, groups: &[MacAddress], kind: Kind) -> Option<String> {
    if kind == Kind::Vf && (1..=LONGEST_LIST).contains(&groups.len()) && filter.take_groups(groups) == 0 {
        let _ = filter.take_all_groups(false);
        return None;
    }
    let all = filter.take_all_groups(true);
    if kind == Kind::Bond && all != 0 {
        return (filter.take_everything() != 0).then(|| {
            "the bond takes neither multicast nor all frames: by LACP, neighbours cannot find the appliance".to_owned()
        });
    }
    if groups.is_empty() {
        return None;
    }
    if all == 0 {
        if kind == Kind::Vf && groups.len() > LONGEST_LIST {
            // Some PFs say yes and grant none: the first groups are better than none.
            let _ = filter.take_groups(groups);
        }
        return None;
    }
    if filter.take_groups(groups) == 0 {
        let count = groups.len();
        let only = format!("it takes those of the {count} groups that the appliance listens to");
        return (all != NOT_SUPPORTED)
            .then(|| format!("the device refuses to take all multicast frames: {only}"));
    }
    if filter.take_everything() == 0 {
        return Some(
            "the device refuses to take multicast frames by their groups: it takes all frames".to_owned(),
        );
    }
    // A virtual device without a filter takes everything anyway.
    (kind != Kind::Virtual || all != NOT_SUPPORTED).then(|| {
        "the device takes no multicast frames that it is asked for: IPv6 neighbours may not find the appliance".to_owned()
    })
}

/// Has a device take the frames for `mac`, as its own address if it lets itself be given one; returns a sentence for the
/// operator if there is something to know.
///
/// # Errors
/// True only if the device is known to take no frames for that address.
pub(super) fn adopt(
    filter: &mut impl Filter,
    mac: MacAddress,
    kind: Kind,
    is_promiscuous: bool,
) -> Result<Option<String>, Refused> {
    if kind == Kind::Kernel {
        // The kernel goes on with its address after the appliance has ended.
        let _ = filter.take_everything();
        return Ok(None);
    }
    let result = filter.change_address(mac);
    match kind {
        _ if result == 0 => Ok((kind == Kind::Vf).then(|| {
            format!("the VF was given the MAC address {mac}; where its PF keeps another one for it, no frame arrives")
        })),
        // A virtual device filters nothing.
        Kind::Virtual => Ok(None),
        _ if is_promiscuous => Ok(Some(format!("the device keeps its own MAC address besides {mac}"))),
        // A VF's PF would drop what it sends from another address, silently.
        Kind::Vf => Err(Refused(result)),
        _ if filter.add_address(mac) == 0 => {
            Ok(Some(format!("the device keeps its own MAC address and takes frames for {mac} besides")))
        }
        _ if filter.take_everything() == 0 => Ok(Some(format!(
            "the device refuses the MAC address {mac}: it takes the frames for any address instead"
        ))),
        _ => Err(Refused(result)),
    }
}

/// Refusal of a MAC address, with the driver's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) i32);

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: i32 = -Errno::AGAIN.raw_os_error();
    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const GROUPS: [MacAddress; 2] =
        [MacAddress([0x33, 0x33, 0, 0, 0, 1]), MacAddress([0x33, 0x33, 0xff, 0, 0, 5])];

    /// Driver with the results of its functions, and a record of the calls.
    struct Driver {
        results: [i32; 6],
        calls: Vec<&'static str>,
        /// Groups that the driver expects.
        groups: Vec<MacAddress>,
    }

    impl Driver {
        fn with(all: i32, list: i32, everything: i32) -> Self {
            Self { results: [all, list, everything, 0, 0, 0], calls: Vec::new(), groups: GROUPS.to_vec() }
        }

        fn changing(change: i32, add: i32, everything: i32) -> Self {
            Self { results: [0, 0, everything, change, add, 0], calls: Vec::new(), groups: GROUPS.to_vec() }
        }

        fn call(&mut self, index: usize) -> i32 {
            self.calls.push(["all", "list", "everything", "change", "add", "not all"][index]);
            self.results[index]
        }
    }

    impl Filter for Driver {
        fn take_all_groups(&mut self, on: bool) -> i32 {
            if on { self.call(0) } else { self.call(5) }
        }

        fn take_groups(&mut self, groups: &[MacAddress]) -> i32 {
            assert_eq!(groups, self.groups);
            self.call(1)
        }

        fn take_everything(&mut self) -> i32 {
            self.call(2)
        }

        fn change_address(&mut self, mac: MacAddress) -> i32 {
            assert_eq!(mac, MAC);
            self.call(3)
        }

        fn add_address(&mut self, mac: MacAddress) -> i32 {
            assert_eq!(mac, MAC);
            self.call(4)
        }
    }

    #[test]
    fn multicast_is_asked_for_in_ever_coarser_ways_and_first_by_its_groups_on_a_vf() {
        use Kind::{Kernel, Physical, Vf, Virtual};
        // Results of all, list and everything; the calls that are made; the beginning of what is told.
        for (driver, kind, calls, told) in [
            (Driver::with(0, 0, 0), Physical, &["all"][..], None),
            (Driver::with(0, 0, 0), Kernel, &["all"], None),
            (Driver::with(0, 0, 0), Vf, &["list", "not all"], None),
            (Driver::with(REFUSED, 0, 0), Vf, &["list", "not all"], None),
            (Driver::with(0, REFUSED, 0), Vf, &["list", "all"], None),
            (
                Driver::with(REFUSED, 0, 0),
                Physical,
                &["all", "list"],
                Some("the device refuses to take all multicast frames: it takes those of the 2 groups"),
            ),
            (Driver::with(NOT_SUPPORTED, 0, 0), Physical, &["all", "list"], None),
            (
                Driver::with(REFUSED, REFUSED, 0),
                Vf,
                &["list", "all", "list", "everything"],
                Some("the device refuses to take multicast frames by their groups: it takes all frames"),
            ),
            (
                Driver::with(NOT_SUPPORTED, NOT_SUPPORTED, NOT_SUPPORTED),
                Physical,
                &["all", "list", "everything"],
                Some("the device takes no multicast frames that it is asked for"),
            ),
            (
                Driver::with(NOT_SUPPORTED, NOT_SUPPORTED, NOT_SUPPORTED),
                Virtual,
                &["all", "list", "everything"],
                None,
            ),
        ] {
            let mut driver = driver;
            let remark = listen(&mut driver, &GROUPS, kind);
            assert_eq!(driver.calls, calls, "{:?} {kind:?}", driver.results);
            let begins = |told: &str| remark.as_ref().is_some_and(|remark| remark.starts_with(told));
            assert!(told.map_or(remark.is_none(), begins), "{remark:?}");
        }
    }

    #[test]
    fn a_vf_with_more_groups_than_a_message_holds_takes_all_of_them() {
        let groups: Vec<MacAddress> =
            (0..=LONGEST_LIST as u8).map(|n| MacAddress([0x33, 0x33, 0, 0, 0, n])).collect();
        let mut driver = Driver { groups: groups.clone(), ..Driver::with(0, 0, 0) };
        assert_eq!(listen(&mut driver, &groups, Kind::Vf), None);
        assert_eq!(driver.calls, ["all", "list"]);
    }

    #[test]
    fn without_groups_nothing_but_all_multicast_is_asked_for() {
        for kind in [Kind::Vf, Kind::Physical, Kind::Virtual] {
            let mut driver = Driver::with(REFUSED, 0, 0);
            assert_eq!(listen(&mut driver, &[], kind), None);
            assert_eq!(driver.calls, ["all"]);
        }
    }

    #[test]
    fn a_bond_takes_all_frames_where_it_cannot_take_all_multicast() {
        for (all, everything, calls, is_told) in [
            (0, 0, &["all"][..], false),
            (NOT_SUPPORTED, 0, &["all", "everything"], false),
            (REFUSED, REFUSED, &["all", "everything"], true),
        ] {
            let mut driver = Driver::with(all, 0, everything);
            assert_eq!(listen(&mut driver, &[], Kind::Bond).is_some(), is_told);
            assert_eq!(driver.calls, calls);
        }
    }

    #[test]
    fn a_mac_address_is_programmed_and_a_refusal_is_told_or_gone_around() {
        use Kind::{Kernel, Physical, Vf, Virtual};
        // Results of change, add and everything; whether the port is promiscuous.
        let told = |driver: Driver, kind, is_promiscuous| {
            let mut driver = driver;
            let result = adopt(&mut driver, MAC, kind, is_promiscuous);
            (driver.calls, result)
        };
        let begins = |result: &Result<Option<String>, Refused>, words: &str| matches!(result, Ok(Some(remark)) if remark.starts_with(words));
        assert_eq!(told(Driver::changing(0, 0, 0), Physical, false), (vec!["change"], Ok(None)));
        let (calls, result) = told(Driver::changing(0, 0, 0), Vf, false);
        assert!(calls == ["change"] && begins(&result, "the VF was given the MAC address 02:00:00:00:00:01"));
        assert_eq!(told(Driver::changing(REFUSED, 0, 0), Vf, false), (vec!["change"], Err(Refused(REFUSED))));
        let (calls, result) = told(Driver::changing(REFUSED, 0, 0), Vf, true);
        assert!(calls == ["change"] && begins(&result, "the device keeps its own MAC address besides"));
        let (calls, result) = told(Driver::changing(NOT_SUPPORTED, 0, 0), Physical, false);
        assert!(
            calls == ["change", "add"] && begins(&result, "the device keeps its own MAC address and takes")
        );
        let (calls, result) = told(Driver::changing(NOT_SUPPORTED, NOT_SUPPORTED, 0), Physical, false);
        assert!(
            calls == ["change", "add", "everything"] && begins(&result, "the device refuses the MAC address")
        );
        let nothing = Driver::changing(REFUSED, NOT_SUPPORTED, NOT_SUPPORTED);
        assert_eq!(told(nothing, Physical, false).1, Err(Refused(REFUSED)));
        let nothing = Driver::changing(NOT_SUPPORTED, NOT_SUPPORTED, NOT_SUPPORTED);
        assert_eq!(told(nothing, Virtual, false), (vec!["change"], Ok(None)));
        assert_eq!(told(Driver::changing(0, 0, 0), Kernel, false), (vec!["everything"], Ok(None)));
    }

    #[test]
    fn a_vf_is_known_by_its_pf_or_by_its_driver() {
        for (is_pci, driver, has_pf, kind) in [
            (true, "net_e1000_igb_vf", false, Kind::Vf),
            (true, "net_iavf", false, Kind::Vf),
            (true, "mlx5_pci", true, Kind::Vf),
            (true, "mlx5_pci", false, Kind::Physical),
            (true, "net_virtio", false, Kind::Physical),
            (false, "net_af_packet", false, Kind::Kernel),
            (false, "net_bonding", false, Kind::Bond),
            (false, "net_ring", false, Kind::Virtual),
        ] {
            assert_eq!(Kind::of(is_pci, driver, has_pf), kind, "{driver}");
        }
    }
}
