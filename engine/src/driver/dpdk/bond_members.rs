//! Members of a bond: ports of DPDK's that the bond sends by, each with a link of its own.
#![allow(unsafe_code)]

use std::ffi::CString;

use guideway_dpdk_sys as sys;

use super::Port;
use super::port::link_of;

/// Member of a bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the member: its PCI address, or that of a virtual device.
    pub name: String,
    /// True if the link is up.
    pub up: bool,
}

impl Port<'_> {
    /// Links of the members that a bond was configured with, of those that there are; empty for other devices, and while the
    /// bond is reset.
    pub fn members(&self) -> Vec<Member> {
        let link = |name: String| {
            let c_name = CString::new(name.as_str()).ok()?;
            let mut id = 0;
            // SAFETY: EAL runs, since the bond is open; the name ends in NUL, and `id` is written to before the call returns,
            // or not at all.
            let found = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) };
            (found == 0).then(|| Member { name, up: link_of(id).up })
        };
        let members = if self.is_usable() { self.device().members() } else { Vec::new() };
        members.into_iter().filter_map(link).collect()
    }
}
