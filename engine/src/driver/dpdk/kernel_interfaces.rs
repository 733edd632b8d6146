//! Network interfaces of the kernel below one virtual device: a rule one, of `net_pcap` also another one to send by.

use guideway_dpdk_sys as sys;

use super::kernel_interface::{InterfaceState, KernelInterface};
use crate::driver::device::Device;

/// Driver whose devices take several interfaces, and state the index of none then.
const TAKES_SEVERAL: &str = "net_pcap";

/// Interfaces below a device as they were when it was opened; none below hardware, or a device that needs none.
#[derive(Clone, Debug, Default)]
pub(super) struct KernelInterfaces(Vec<KernelInterface>);

impl KernelInterfaces {
    /// Interfaces below a device that was opened.
    pub(super) fn of(device: &Device, info: &sys::rte_eth_dev_info) -> Self {
        let stated = KernelInterface::of(device, info);
        if stated.is_some() || !device.is_driven_by(TAKES_SEVERAL) {
            return Self(stated.into_iter().collect());
        }
        Self(device.interfaces().into_iter().filter_map(KernelInterface::named).collect())
    }

    /// Interfaces, in the order of the device's arguments.
    pub(super) fn iter(&self) -> impl Iterator<Item = &KernelInterface> {
        self.0.iter()
    }

    /// Notes that one of them was away, whether or not it is back: the device is opened anew as a whole.
    pub(super) fn miss(&self) {
        self.0.iter().for_each(KernelInterface::miss);
    }

    /// State of all of them, which is that of the one that is worst off; None where there are none.
    pub(super) fn state(&self) -> Option<InterfaceState> {
        together(self.0.iter().map(KernelInterface::state))
    }

    /// Names of those that are gone, for a message.
    pub(super) fn gone(&self) -> String {
        let gone = self.0.iter().filter(|one| one.state() == InterfaceState::Gone);
        gone.map(KernelInterface::name).collect::<Vec<_>>().join(" and ")
    }
}

/// State of several interfaces of one device. Where one was lost, the device is opened anew once each of them is up.
fn together(states: impl Iterator<Item = InterfaceState>) -> Option<InterfaceState> {
    use InterfaceState::{Down, Gone, Replaced, Up};
    states.reduce(|one, another| match (one, another) {
        (Gone, _) | (_, Gone) | (Replaced, Down) | (Down, Replaced) => Gone,
        (Replaced, _) | (_, Replaced) => Replaced,
        (Down, _) | (_, Down) => Down,
        (Up, Up) => Up,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_two_interfaces_is_up_with_both_and_opened_anew_once_both_are() {
        use InterfaceState::{Down, Gone, Replaced, Up};
        for (one, another, expected) in [
            (Up, Up, Up),
            (Up, Down, Down),
            (Up, Gone, Gone),
            (Up, Replaced, Replaced),
            (Down, Down, Down),
            (Down, Gone, Gone),
            (Down, Replaced, Gone),
            (Gone, Gone, Gone),
            (Gone, Replaced, Gone),
            (Replaced, Replaced, Replaced),
        ] {
            for states in [[one, another], [another, one]] {
                assert_eq!(together(states.into_iter()), Some(expected), "{states:?}");
            }
        }
        assert_eq!(together([].into_iter()), None);
    }

    #[test]
    fn interfaces_that_a_driver_states_no_index_of_are_known_by_their_names() {
        let below = |device: &str| {
            let device: Device = device.parse().unwrap();
            KernelInterfaces::of(&device, &sys::rte_eth_dev_info::default())
        };
        let names = |device| below(device).iter().map(KernelInterface::name).collect::<Vec<_>>();
        assert_eq!(names("net_pcap0,rx_iface=lo,tx_iface=guideway-none"), ["lo", "guideway-none"]);
        assert_eq!(names("net_pcap0,rx_iface_in=lo,tx_iface=lo"), ["lo"]);
        assert!(names("net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap").is_empty());
        assert!(below("net_null0").state().is_none());
        // Deleted between the opening and the first look.
        let lost = below("net_pcap0,rx_iface=lo,tx_iface=guideway-none");
        assert_eq!((lost.state(), lost.gone()), (Some(InterfaceState::Gone), "guideway-none".to_owned()));
    }

    #[test]
    fn the_loss_of_one_interface_is_that_of_the_device() {
        let device: Device = "net_pcap0,rx_iface=lo,tx_iface=lo".parse().unwrap();
        let below = KernelInterfaces::of(&device, &sys::rte_eth_dev_info::default());
        let before = below.state().expect("every namespace has lo");
        below.miss();
        let after =
            if before == InterfaceState::Up { InterfaceState::Replaced } else { InterfaceState::Gone };
        assert_eq!((below.state(), below.clone().state()), (Some(after), Some(after)));
    }
}
