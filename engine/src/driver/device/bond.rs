//! Arguments of a bond of ports (`net_bonding`): its members, by a key that DPDK has renamed.

use super::{PciAddress, parse_address};

/// Keys of a member: before DPDK 23.11, and since.
const KEYS: [&str; 2] = ["slave", "member"];

/// Members of a bond that are PCI functions; none for a device of another driver.
pub(super) fn pci_members(arguments: &str) -> Vec<PciAddress> {
    if !is_bond(arguments) {
        return Vec::new();
    }
    let pairs = arguments.split(',').filter_map(|argument| argument.split_once('='));
    pairs.filter(|(key, _)| KEYS.contains(key)).filter_map(|(_, value)| parse_address(value)).collect()
}

/// Names of the members of a bond, as DPDK has them; none for a device of another driver.
pub(super) fn members(arguments: &str) -> Vec<String> {
    if !is_bond(arguments) {
        return Vec::new();
    }
    let pairs = arguments.split(',').filter_map(|argument| argument.split_once('='));
    let name =
        |value: &str| parse_address(value).map_or_else(|| value.to_owned(), |address| address.to_string());
    pairs.filter(|(key, _)| KEYS.contains(key)).map(|(_, value)| name(value)).collect()
}

/// Arguments of a bond with the key that a version of DPDK reads; those of another driver as they are.
pub(super) fn in_words_of(arguments: &str, is_new: bool) -> String {
    if !is_bond(arguments) {
        return arguments.to_owned();
    }
    let key = KEYS[usize::from(is_new)];
    let renamed = |argument: &str| match argument.split_once('=') {
        Some((old, value)) if KEYS.contains(&old) => format!("{key}={value}"),
        _ => argument.to_owned(),
    };
    arguments.split(',').map(renamed).collect::<Vec<_>>().join(",")
}

fn is_bond(arguments: &str) -> bool {
    arguments.starts_with("net_bonding")
}

#[cfg(test)]
mod tests {
    use crate::driver::device::Device;

    #[test]
    fn the_pci_members_of_a_bond_are_found_by_either_key() {
        let functions = |device: &str| {
            let device: Device = device.parse().unwrap();
            device.pci_functions().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            functions("net_bonding0,mode=4,slave=3b:00.0,member=0000:3b:00.1,primary=0000:3b:00.0"),
            ["0000:3b:00.0", "0000:3b:00.1"]
        );
        assert!(functions("net_bonding0,mode=1,slave=net_tap0").is_empty());
        assert!(functions("net_tap0,slave=3b:00.0").is_empty(), "no bond");
        assert_eq!(functions("3b:00.0"), ["0000:3b:00.0"]);
        let bond: Device =
            "net_bonding0,mode=4,slave=3b:00.0,member=net_tap0,primary=net_tap0".parse().unwrap();
        assert_eq!(bond.members(), ["0000:3b:00.0", "net_tap0"]);
        let tap: Device = "net_tap0,slave=x".parse().unwrap();
        assert!(tap.members().is_empty());
    }

    #[test]
    fn a_member_is_named_by_the_key_that_dpdk_reads() {
        let bond: Device = "net_bonding0,mode=4,slave=3b:00.0,member=net_tap0".parse().unwrap();
        assert_eq!(bond.in_words_of(false), "net_bonding0,mode=4,slave=3b:00.0,slave=net_tap0");
        assert_eq!(bond.in_words_of(true), "net_bonding0,mode=4,member=3b:00.0,member=net_tap0");
        let tap: Device = "net_tap0,slave=x".parse().unwrap();
        assert_eq!(tap.in_words_of(true), "net_tap0,slave=x");
    }
}
