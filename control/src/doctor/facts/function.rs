//! PCI functions of the ports: who has each, who shares its IOMMU group, and for a VF what its PF allows it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use guideway_engine::driver::pci_function::{BindingFault, PciFunction};
use guideway_model::config::Config;
use serde::Deserialize;

/// First digits of the class of a bridge, which may stay in an IOMMU group.
const BRIDGE: &str = "0x06";

/// PCI function of a port.
#[derive(Clone, Debug)]
pub struct Function {
    /// Index of the port in the configuration.
    pub port: usize,
    /// Address of the function.
    pub address: String,
    /// Driver that has the function.
    pub driver: Option<String>,
    /// Fault for which DPDK cannot have the function.
    pub binding: Result<(), BindingFault>,
    /// Number of the IOMMU group.
    pub group: Option<String>,
    /// Other functions of the group that a kernel's driver has, each with the driver.
    pub group_mates: Vec<(String, String)>,
    /// VF, as its PF has it; none for other functions, and in a virtual machine that does not have the PF.
    pub vf: Option<VirtualFunction>,
}

/// VF, as its PF has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualFunction {
    /// Number of the VF among those of its PF.
    pub number: u32,
    /// Interface of the PF.
    pub pf: Option<String>,
    /// MTU of the PF.
    pub pf_mtu: Option<u32>,
    /// State of the PF's interface, in the kernel's word; `up` or `unknown` if it works.
    pub pf_state: Option<String>,
    /// Settings of the VF; none where `ip` does not tell.
    pub settings: Option<VfSettings>,
}

/// Settings of a VF, in the words of `ip -j link show`. A driver that does not know one leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct VfSettings {
    /// Number of the VF.
    pub vf: u32,
    /// MAC address; zeros where the PF has set none.
    pub address: Option<String>,
    /// True if the VF may only send from its own MAC address.
    pub spoofchk: Option<bool>,
    /// True if the VF may change its address and take all frames.
    pub trust: Option<bool>,
    /// State of the link that the VF is shown: `auto`, `enable` or `disable`.
    #[serde(alias = "link-state")]
    pub link_state: Option<String>,
    /// VLAN that the PF puts the VF into.
    #[serde(default)]
    pub vlan_list: Vec<Vlan>,
}

/// VLAN that a PF puts a VF into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Vlan {
    /// Number of the VLAN; 0 for none.
    pub vlan: u16,
}

impl VfSettings {
    /// VLAN that the PF puts the VF into.
    pub fn vlan(&self) -> Option<u16> {
        self.vlan_list.iter().map(|vlan| vlan.vlan).find(|vlan| *vlan != 0)
    }

    /// Reads the settings of one VF from what `ip -j link show` says of its PF.
    pub fn parse(json: &[u8], number: u32) -> Option<Self> {
        #[derive(Deserialize)]
        struct Link {
            #[serde(default)]
            vfinfo_list: Vec<VfSettings>,
        }
        let links: Vec<Link> = serde_json::from_slice(json).ok()?;
        links.into_iter().flat_map(|link| link.vfinfo_list).find(|vf| vf.vf == number)
    }
}

/// Functions of all ports; `sys` is `/sys` but for tests.
pub(super) fn of_ports(config: &Config, sys: &Path) -> Vec<Function> {
    let mut functions = Vec::new();
    for (port, configured) in config.ports.iter().enumerate() {
        for address in configured.device.pci_functions() {
            let function = PciFunction::new(sys, address);
            let address = address.to_string();
            let group = function.iommu_group();
            let vf = function.vf().map(|vf| {
                let read = |interface: &String, file: &str| {
                    fs::read_to_string(sys.join("class/net").join(interface).join(file)).ok()
                };
                VirtualFunction {
                    number: vf.number,
                    pf_mtu: function.pf_mtu().map(|(_, mtu)| mtu),
                    pf_state: vf
                        .interface
                        .as_ref()
                        .and_then(|pf| Some(read(pf, "operstate")?.trim().to_owned())),
                    pf: vf.interface,
                    settings: None,
                }
            });
            functions.push(Function {
                port,
                driver: function.driver(),
                binding: function.check_binding(),
                group_mates: group.iter().flat_map(|group| mates(sys, group, &address)).collect(),
                group,
                vf,
                address,
            });
        }
    }
    functions
}

/// Functions of an IOMMU group but one that a kernel's driver has.
fn mates(sys: &Path, group: &str, but: &str) -> Vec<(String, String)> {
    let devices = fs::read_dir(sys.join("kernel/iommu_groups").join(group).join("devices"));
    let mate = |entry: fs::DirEntry| {
        let address = entry.file_name().into_string().ok().filter(|address| address != but)?;
        let directory = sys.join("bus/pci/devices").join(&address);
        let is_bridge =
            fs::read_to_string(directory.join("class")).is_ok_and(|class| class.starts_with(BRIDGE));
        let driver = fs::read_link(directory.join("driver")).ok()?.file_name()?.to_str()?.to_owned();
        (!is_bridge && driver != "vfio-pci").then_some((address, driver))
    };
    devices.into_iter().flatten().flatten().filter_map(mate).collect()
}

impl Function {
    /// Asks `ip` for the settings of a VF.
    pub(super) fn ask_pf(&mut self) {
        let Some(VirtualFunction { number, pf: Some(pf), settings, .. }) = &mut self.vf else { return };
        let mut ip = Command::new("ip");
        ip.args(["-j", "link", "show", "dev", pf]).stdin(Stdio::null()).stderr(Stdio::null());
        let answer = ip.output().ok().filter(|answer| answer.status.success());
        *settings = answer.and_then(|answer| VfSettings::parse(&answer.stdout, *number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_vf_of_this_number() {
        let json = br#"[{"ifindex":4,"ifname":"ens1f0","mtu":1500,"operstate":"UP","vfinfo_list":[
            {"vf":0,"link_type":"ether","address":"02:00:00:00:00:02","vlan_list":[{"vlan":100}],
             "spoofchk":true,"link_state":"auto","trust":false,"query_rss_en":false},
            {"vf":1,"address":"00:00:00:00:00:00","spoofchk":false,"link-state":"disable"}]}]"#;
        let first = VfSettings::parse(json, 0).expect("it is there");
        assert_eq!((first.spoofchk, first.trust, first.vlan()), (Some(true), Some(false), Some(100)));
        let second = VfSettings::parse(json, 1).expect("it is there");
        assert_eq!((second.trust, second.vlan()), (None, None));
        assert_eq!(second.link_state.as_deref(), Some("disable"));
        assert_eq!(VfSettings::parse(json, 2), None);
        assert_eq!(VfSettings::parse(b"no JSON", 0), None);
    }
}
