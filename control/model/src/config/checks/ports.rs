//! Ports: no two share a name, a device or an address.

use std::collections::HashMap;

use crate::config::names::Names;
use crate::config::report::Report;
use crate::config::written::field::{Field, elements};
use crate::config::written::file::ConfigFile;
use crate::config::written::value::InterfaceAddress;

/// Reports names, devices and addresses that two ports share.
pub(super) fn check(file: &ConfigFile, report: &mut Report) {
    let ports = elements(&file.port);
    Names::new(ports, report);
    let mut devices = HashMap::new();
    let mut addresses = HashMap::new();
    for port in ports.iter().filter_map(Field::get) {
        if let Some(device) = port.device.get()
            && let Some(first) = devices.insert(device.name(), port.device.span())
        {
            report.error_beside(
                port.device.span(),
                format!("two ports are device `{}`", device.name()),
                "name each device once",
                [(first, "the first".to_owned())],
            );
        }
        for address in elements(&port.ip_addresses) {
            let Some(InterfaceAddress(own)) = address.copied() else { continue };
            if let Some(first) = addresses.insert(own.addr(), address.span()) {
                report.error_beside(
                    address.span(),
                    format!("`{}` is written twice", own.addr()),
                    "an address belongs to one port",
                    [(first, "the first".to_owned())],
                );
            }
        }
    }
}
