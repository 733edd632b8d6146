//! Interfaces of the kernel: MTU and link, as `/sys/class/net` tells them.

use std::fs;
use std::path::Path;

/// Flag of an interface that is switched on (`IFF_UP`).
const UP: u32 = 1;

/// Interface of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Bytes of the longest packet.
    pub mtu: u32,
    /// True if the interface is switched on.
    pub is_up: bool,
    /// True if it has a link.
    pub has_carrier: bool,
}

impl Interface {
    /// Reads an interface; none where the kernel has none of this name. `sys` is `/sys` but for tests.
    pub(super) fn read(sys: &Path, name: &str) -> Option<Self> {
        let directory = sys.join("class/net").join(name);
        let text = |file: &str| Some(fs::read_to_string(directory.join(file)).ok()?.trim().to_owned());
        let flags = text("flags").and_then(|flags| u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok());
        Some(Self {
            mtu: text("mtu")?.parse().ok()?,
            is_up: flags.is_some_and(|flags| flags & UP != 0),
            // An interface that is switched off cannot tell.
            has_carrier: text("carrier").as_deref() == Some("1"),
        })
    }
}
