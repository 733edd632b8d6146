//! Devices that lose their link, ask for a reset or go away, under a running appliance.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use guideway::api::request::Request;
use guideway::api::view::{self, EventKind, PortState};
use guideway::run::assemble::Probing;
use guideway::run::ports::{MemoryPorts, PortLink, PortSignals, Ports};
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::mbuf::Mbuf;

use crate::operator::{CONFIG, Operator, run_on};

const UP: PortLink = PortLink { up: true, speed_mbps: Some(25_000), ..PortLink::DOWN };

/// Device as the test has it behave.
#[derive(Debug)]
struct Device {
    signals: PortSignals,
    link: PortLink,
    link_reads: u32,
    /// Calls of the appliance that change the device.
    calls: Vec<&'static str>,
    reset_fails: bool,
    reset_takes_long: bool,
    is_paused: bool,
    members: Vec<view::PortMember>,
    mac: Option<MacAddress>,
    groups: Vec<MacAddress>,
}

/// Port with a device.
#[derive(Clone, Debug)]
struct OneDevice(Rc<RefCell<Device>>);

impl OneDevice {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Device {
            signals: PortSignals::default(),
            link: UP,
            link_reads: 0,
            calls: Vec::new(),
            reset_fails: false,
            reset_takes_long: false,
            is_paused: false,
            members: Vec::new(),
            mac: None,
            groups: Vec::new(),
        })))
    }

    fn calls(&self) -> Vec<&'static str> {
        self.0.borrow().calls.clone()
    }

    fn signal(&self, signals: PortSignals) {
        self.0.borrow_mut().signals = signals;
    }
}

impl Ports for OneDevice {
    type Frame = Mbuf;

    fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
        MemoryPorts.frame(bytes)
    }

    fn states(&self) -> Vec<view::Port> {
        let link_up = self.0.borrow().link.up;
        vec![view::Port { name: "lan".to_owned(), link_up, ..view::Port::default() }]
    }

    fn stats(&self) -> Vec<view::PortStats> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        vec!["lan".to_owned()]
    }

    fn take_signals(&self, _: usize) -> PortSignals {
        std::mem::take(&mut self.0.borrow_mut().signals)
    }

    fn link(&self, _: usize) -> PortLink {
        let mut device = self.0.borrow_mut();
        device.link_reads += 1;
        device.link
    }

    fn adopt_mac(&self, _: usize, mac: Option<MacAddress>) -> Option<String> {
        self.0.borrow_mut().mac = mac;
        None
    }

    fn listen(&self, _: usize, groups: &[MacAddress]) -> Option<String> {
        self.0.borrow_mut().groups = groups.to_vec();
        None
    }

    fn pause(&self, _: usize) {
        self.0.borrow_mut().calls.push("pause");
    }

    fn is_paused(&self, _: usize) -> bool {
        self.0.borrow().is_paused
    }

    fn members(&self, _: usize) -> Vec<view::PortMember> {
        self.0.borrow().members.clone()
    }

    fn begin_restart(&self, _: usize) -> Result<(), String> {
        self.0.borrow_mut().calls.push("restart");
        Ok(())
    }

    fn end_restart(&self, _: usize) -> Option<Result<(), String>> {
        let device = self.0.borrow();
        let result = || if device.reset_fails { Err("its PF is down".to_owned()) } else { Ok(()) };
        (!device.reset_takes_long).then(result)
    }

    fn remove(&self, _: usize) -> Result<(), String> {
        self.0.borrow_mut().calls.push("remove");
        Ok(())
    }
}

async fn port(operator: &Operator) -> view::Port {
    operator.ask(|reply| Request::Status { reply }).await.unwrap().ports.remove(0)
}

/// Waits until the event of this kind has happened `count` times; returns the text of the latest.
async fn event(operator: &Operator, kind: EventKind, count: usize) -> String {
    for _ in 0..5_000 {
        let list = operator.ask(|reply| Request::Events { limit: 100, after: None, reply }).await.unwrap();
        let mut of_kind: Vec<_> = list.events.into_iter().filter(|event| event.kind == kind).collect();
        if of_kind.len() >= count {
            return of_kind.remove(count - 1).text;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{kind:?} does not happen");
}

/// Reason why the VIP is announced or not, once it is not `before`.
async fn reason_after(operator: &Operator, before: &str) -> String {
    for _ in 0..5_000 {
        let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
        let reason = status.announcements.first().map(|one| one.reason.to_string());
        if let Some(reason) = reason.filter(|reason| reason != before) {
            return reason;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the reason is still {before}");
}

#[test]
fn a_lost_link_withdraws_the_announcements_and_its_return_brings_them_back() {
    let device = OneDevice::new();
    let config =
        format!("{CONFIG}[[announcement]]\nname = \"bgp\"\npolicy = \"ALWAYS\"\ncommand = [\"/bin/true\"]\n");
    let link_changed = PortSignals { link: true, ..PortSignals::default() };
    let far = device.clone();
    let result = run_on(device, "link", &config, Probing::Off, None, |operator| async move {
        assert_eq!(reason_after(&operator, "").await, "served");
        far.0.borrow_mut().link = PortLink::DOWN;
        far.signal(link_changed);
        assert_eq!(event(&operator, EventKind::LinkDown, 1).await, "port lan: the link is down");
        assert_eq!(reason_after(&operator, "served").await, "link down");
        assert_eq!(port(&operator).await.link_losses, 1);
        // Without a signal: it is looked at once a second.
        far.0.borrow_mut().link = UP;
        assert_eq!(event(&operator, EventKind::LinkUp, 1).await, "port lan: the link is up, 25000 Mbit/s");
        assert_eq!(reason_after(&operator, "link down").await, "served");
        crate::operator::stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_device_that_asks_is_reset_once_the_workers_keep_away_and_again_if_that_fails() {
    let device = OneDevice::new();
    let far = device.clone();
    let result = run_on(device, "reset", CONFIG, Probing::Off, None, |operator| async move {
        // A link that nobody has seen up cannot be lost.
        while far.0.borrow().link_reads == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        far.0.borrow_mut().reset_fails = true;
        far.signal(PortSignals { reset: true, ..PortSignals::default() });
        for _ in 0..5_000 {
            if port(&operator).await.state == PortState::Resetting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(far.calls(), ["pause"], "a worker may still poll it");
        (far.0.borrow_mut().is_paused, far.0.borrow_mut().reset_takes_long) = (true, true);
        while far.calls() == ["pause"] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(port(&operator).await.state, PortState::Resetting, "the appliance goes on meanwhile");
        far.0.borrow_mut().reset_takes_long = false;
        let failure = event(&operator, EventKind::PortResetFailed, 1).await;
        assert!(failure.ends_with("which has failed and is tried again: its PF is down"), "{failure}");
        far.0.borrow_mut().reset_fails = false;
        event(&operator, EventKind::PortReset, 1).await;
        assert_eq!(far.calls(), ["pause", "restart", "restart"]);
        event(&operator, EventKind::LinkUp, 1).await;
        let port = port(&operator).await;
        assert_eq!((port.state, port.resets, port.link_losses), (PortState::Running, 1, 1));
        crate::operator::stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn the_link_of_a_bonds_member_is_watched() {
    let device = OneDevice::new();
    let far = device.clone();
    let members = |link_up| vec![view::PortMember { name: "0000:3b:00.1".to_owned(), link_up }];
    device.0.borrow_mut().members = members(true);
    let result = run_on(device, "members", CONFIG, Probing::Off, None, |operator| async move {
        while far.0.borrow().link_reads == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(port(&operator).await.members, members(true));
        far.0.borrow_mut().members = members(false);
        let lost = event(&operator, EventKind::LinkDown, 1).await;
        assert_eq!(lost, "port lan: the link of its member 0000:3b:00.1 is down");
        assert_eq!(port(&operator).await.members, members(false));
        crate::operator::stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn the_appliance_stops_once_its_last_device_is_gone() {
    let device = OneDevice::new();
    let far = device.clone();
    let result = run_on(device.clone(), "removal", CONFIG, Probing::Off, None, |_operator| async move {
        far.0.borrow_mut().is_paused = true;
        far.signal(PortSignals { removal: true, ..PortSignals::default() });
    });
    assert_eq!(result, Ok(()));
    assert_eq!(device.calls(), ["pause", "remove"]);
}

#[test]
fn devices_are_told_the_addresses_at_the_start_with_a_reload_and_with_a_vip() {
    let with = |network: &str, replies: &str| {
        let ports = CONFIG.replace("\"192.0.2.1/24\"", "\"192.0.2.1/24\", \"2001:db8::1/64\"");
        format!(
            "{network}{ports}[[forwarding_rule]]\nname = \"six\"\nip_address = \"2001:db8::ab:cdef\"\nports = [80]\n\
             backend_service = \"six\"\n{replies}[[backend_service]]\nname = \"six\"\n\
             health_checks = [\"alive\"]\nbackends = [{{ group = \"six\" }}]\n\
             [[backend_group]]\nname = \"six\"\nendpoints = []\n"
        )
    };
    let group = |low: [u8; 4]| MacAddress([0x33, 0x33, low[0], low[1], low[2], low[3]]);
    let (all, own, vip) = (group([0, 0, 0, 1]), group([0xff, 0, 0, 1]), group([0xff, 0xab, 0xcd, 0xef]));
    let device = OneDevice::new();
    let far = device.clone();
    let network = "[network]\nmac_address = \"02:00:00:00:00:77\"\n";
    let first = with(network, "");
    let result = run_on(device, "addresses", &first, Probing::Off, None, |operator| async move {
        assert_eq!(port(&operator).await.name, "lan");
        let told = || (far.0.borrow().mac, far.0.borrow().groups.clone());
        assert_eq!(told(), (Some(MacAddress([2, 0, 0, 0, 0, 0x77])), vec![all, own, vip]));
        std::fs::write(&operator.config_path, with("", "neighbor_replies = \"WHEN_ANNOUNCED\"\n")).unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert_eq!(told(), (None, vec![all, own]));
        let address = "2001:db8::ab:cdef".parse().unwrap();
        operator.ask(|reply| Request::VipAnnounce { address, network: None, reply }).await.unwrap();
        assert_eq!(told().1, [all, own, vip]);
        crate::operator::stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
