//! Check of addresses that the appliance and the kernel both have.

use super::facts::Facts;
use super::finding::{Finding, quoted};
use crate::run::machine::shared_addresses;

/// Addresses of ports, networks and rules on interfaces of the kernel.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let shared = shared_addresses(&facts.addresses, config);
    if shared.is_empty() {
        return vec![Finding::ok("addresses", "the kernel has none of the appliance's")];
    }
    let warn = |(address, interface): (&std::net::IpAddr, &String), text: String| {
        let remedy = format!("ip address del {address} dev {}", quoted(interface));
        Finding::warning(address.to_string(), text).should_be("the appliance's alone", remedy)
    };
    let kernels = |text: &str| {
        // The sentence begins with its address.
        let address = text.split(',').next()?.parse().ok()?;
        facts.addresses.get_key_value(&address)
    };
    shared.into_iter().filter_map(|warning| Some(warn(kernels(&warning.text)?, warning.text))).collect()
}
