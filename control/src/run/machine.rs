//! The machine that the appliance runs on, as far as settings depend on it: its memory, its cores
//! and nodes, and the kernel's own addresses.

pub mod capabilities;
pub mod cores;
pub mod frame_memory;
pub mod huge_pages;
pub mod memory;
pub(crate) mod shell_word;
pub mod topology;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use guideway_model::config::Config;
use guideway_model::warnings::Warning;
use nix::ifaddrs::getifaddrs;

use memory::{Memory, TableMemory};

/// Machine as it is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Memory of the machine, and of the control group that the process is in.
    pub memory: Memory,
    /// Addresses of the kernel's interfaces, each with the name of the first that has it.
    pub addresses: BTreeMap<IpAddr, String>,
}

impl Machine {
    /// Looks at this machine. What it does not tell gives no warning.
    pub fn look() -> Self {
        Self { memory: Memory::read(Path::new("/")), addresses: kernel_addresses() }
    }

    /// Lists the warnings of a configuration that this machine gives.
    pub fn warnings(&self, config: &Config) -> Vec<Warning> {
        let table = self.memory.never_has(TableMemory::of(config));
        table.into_iter().chain(shared_addresses(&self.addresses, config)).collect()
    }
}

/// Warns of each address of the appliance that is among those of the kernel's interfaces too.
pub fn shared_addresses(addresses: &BTreeMap<IpAddr, String>, config: &Config) -> Vec<Warning> {
    let of_links = config.links().flat_map(|link| {
        let owner = match link.vlan {
            None => format!("an address of port `{}`", config.ports[link.port].name),
            Some(_) => format!("an address of network `{}`", config.networks[link.network].name),
        };
        link.addresses.iter().map(move |own| (own.addr(), owner.clone()))
    });
    let of_networks = config.networks.iter().flat_map(|network| {
        let owner = match config.has_several_networks() {
            false => "an address of `[network]`".to_owned(),
            true => format!("an address of network `{}`", network.name),
        };
        let own = [network.ipv4_address.map(IpAddr::V4), network.ipv6_address.map(IpAddr::V6)];
        own.into_iter().flatten().map(move |own| (own, owner.clone()))
    });
    // The longest prefix first: an address is told of once, by the rule that its packets belong to.
    let mut rules: Vec<_> = config.rules.iter().collect();
    rules.sort_by_key(|rule| Reverse(rule.vip.prefix().prefix_len()));
    let of_rules = rules.into_iter().flat_map(|rule| {
        let owner = match rule.vip.is_prefix() {
            false => format!("the address of forwarding rule `{}`", rule.name),
            true => format!("in the prefix {} of forwarding rule `{}`", rule.vip, rule.name),
        };
        let held = addresses.keys().filter(move |address| rule.vip.contains(**address));
        held.map(move |address| (*address, owner.clone()))
    });
    let mut owners = BTreeMap::new();
    for (address, owner) in of_links.chain(of_networks).chain(of_rules) {
        owners.entry(address).or_insert(owner);
    }
    let shared = owners.into_iter().filter_map(|(address, owner)| {
            let interface = addresses.get(&address)?;
            Some(Warning::new(
                format!(
                    "{address}, {owner}, is also the kernel's, on interface {interface}: where the kernel hears a \
                     port's link it answers for the address too, and resets connections of health checks"
                ),
                format!("remove it there (`ip address del {address} dev {interface}`), or give the appliance another"),
            ))
        });
    shared.collect()
}

/// Addresses of the kernel's interfaces; none where the kernel does not tell.
fn kernel_addresses() -> BTreeMap<IpAddr, String> {
    let mut addresses = BTreeMap::new();
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let ipv6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        if let Some(address) = ipv4.or(ipv6) {
            addresses.entry(address).or_insert(interface.interface_name);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    const PORT: &str = "[network]\nipv6_address = \"2001:db8:1::1\"\n\
                        [[port]]\nname = \"lan\"\ndevice = \"net_af_packet0,iface=eth0\"\n\
                        ip_addresses = [\"192.0.2.1/24\", \"2001:db8:1::1/64\"]\n";
    const RULE: &str = "[[forwarding_rule]]\nname = \"web\"\nip_address = \"203.0.113.10\"\nports = [80]\n\
                        backend_service = \"web\"\n\
                        [[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\n\
                        backends = [{ group = \"web\" }]\n\
                        [[backend_group]]\nname = \"web\"\nendpoints = []\n\
                        [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\n";

    fn with_addresses(addresses: &[(&str, &str)]) -> Machine {
        let parsed = |(address, interface): &(&str, &str)| {
            (address.parse().expect("an address"), (*interface).to_owned())
        };
        Machine { addresses: addresses.iter().map(parsed).collect(), ..Machine::default() }
    }

    #[test]
    fn an_address_that_the_kernel_has_too_is_told_once() {
        let config = config(&format!("{PORT}{RULE}"));
        assert_eq!(with_addresses(&[("192.0.2.2", "eth0"), ("127.0.0.1", "lo")]).warnings(&config), []);
        let machine =
            with_addresses(&[("192.0.2.1", "eth0"), ("2001:db8:1::1", "eth0"), ("203.0.113.10", "lo")]);
        let warnings: Vec<_> = machine.warnings(&config).iter().map(Warning::to_string).collect();
        let starts = [
            "192.0.2.1, an address of port `lan`, is also the kernel's, on interface eth0: ",
            "203.0.113.10, the address of forwarding rule `web`, is also the kernel's, on interface lo: ",
            "2001:db8:1::1, an address of port `lan`, is also the kernel's, on interface eth0: ",
        ];
        assert_eq!(warnings.len(), starts.len(), "{warnings:?}");
        assert!(
            warnings.iter().zip(starts).all(|(warning, start)| warning.starts_with(start)),
            "{warnings:?}"
        );
        assert!(warnings[0].contains("(`ip address del 192.0.2.1 dev eth0`)"), "{}", warnings[0]);
    }

    #[test]
    fn addresses_of_the_kernel_in_a_prefix_are_told_by_the_rule_of_the_longest() {
        let wide = RULE.replace("203.0.113.10", "203.0.113.0/24");
        let narrow = "[[forwarding_rule]]\nname = \"narrow\"\nip_address = \"203.0.113.0/28\"\nports = [80]\n\
                      backend_service = \"web\"\n";
        let config = config(&format!("{wide}{narrow}"));
        let machine =
            with_addresses(&[("203.0.113.7", "lo"), ("203.0.113.77", "eth0"), ("203.0.114.1", "eth1")]);
        let warnings: Vec<_> = machine.warnings(&config).iter().map(Warning::to_string).collect();
        let [first, second] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(
            first.starts_with(
                "203.0.113.7, in the prefix 203.0.113.0/28 of forwarding rule `narrow`, is also"
            ),
            "{first}"
        );
        assert!(
            second
                .starts_with("203.0.113.77, in the prefix 203.0.113.0/24 of forwarding rule `web`, is also"),
            "{second}"
        );
    }

    #[test]
    fn a_table_that_the_machine_never_has_room_for_is_told() {
        let config = config("[conntrack]\nmax_entries = 1073741824\n");
        let machine = |total| Machine {
            memory: Memory { total, available: Some(0), free_gigantic: 0 },
            ..Machine::default()
        };
        assert_eq!(machine(None).warnings(&config), []);
        assert_eq!(machine(Some(24 << 30)).warnings(&config), [], "what others take now, they may give back");
        let warnings = machine(Some(8 << 30)).warnings(&config);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(
            warning.to_string(),
            "a conntrack table of 1073741824 entries takes 24576 MiB, and this process can have 8192 MiB at most, so \
             that `guideway run` refuses it: lower `[conntrack] max_entries`"
        );
    }

    #[test]
    fn this_machine_has_memory_and_the_address_of_its_loopback() {
        let machine = Machine::look();
        assert!(machine.memory.total >= machine.memory.available && machine.memory.available > Some(0));
        assert_eq!(machine.addresses.get(&IpAddr::from([127, 0, 0, 1])).map(String::as_str), Some("lo"));
    }
}
