//! Start-up errors: one clear line each, with the remedy.
#![cfg(feature = "dpdk")]

use std::fs;

use guideway_engine::driver::dpdk::{Eal, EalOptions, Memory};

fn error(options: &EalOptions) -> String {
    let error = Eal::init(options).expect_err("something is missing").to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

/// EAL starts once in a process, so this is one test of several claims; the last one starts it.
#[test]
fn each_missing_thing_is_named_with_its_remedy() {
    let options = EalOptions { memory: Memory::NoHuge { mebibytes: 64 }, ..EalOptions::default() };
    let with_device = |device: &str| EalOptions { devices: vec![device.parse().unwrap()], ..options.clone() };

    let reserved = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    if reserved.trim() == "0" {
        assert_eq!(
            error(&EalOptions::default()),
            "no huge page is free: reserve some (`sysctl vm.nr_hugepages=512`), or set `no_huge = true` for a test"
        );
    }
    let missing = error(&with_device("ffff:ff:1f.7"));
    assert!(missing.starts_with("there is no PCI device ffff:ff:1f.7: `dpdk-devbind.py "), "{missing}");
    let offline = error(&EalOptions { control_cores: vec![4096], ..options.clone() });
    assert!(offline.starts_with("core 4096 is not online: choose from 0"), "{offline}");

    let no_interface = error(&with_device("net_af_packet0,iface=guideway-none"));
    assert!(
        no_interface.starts_with("`net_af_packet0,iface=guideway-none` cannot be used ("),
        "{no_interface}"
    );
    assert!(no_interface.contains("check the device's name and its arguments"), "{no_interface}");
    println!("{no_interface}");
}
