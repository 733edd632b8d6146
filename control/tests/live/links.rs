//! Cables that are pulled, a backend whose interface is replaced, a gateway that goes and comes back as another one.

use guideway::api::view::AnnouncementReason;

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::{Appliance, socket};
use crate::lab::backend::Backend;
use crate::lab::bird::{Birds, wait_for_hops};
use crate::lab::client::retransmissions;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{DeliveryMode, Setup, http_check};

/// Connections that are open when something happens.
const CONVERSATIONS: usize = 24;
/// Times that a segment is sent in vain while a cable is out.
const SENT_IN_VAIN: u64 = 2;

/// Asks for the name of each connection's backend while a fault lasts, until TCP has sent segments again; then ends the fault.
fn through(lab: &Lab, conversations: &mut [(Conversation, String)], end: impl FnOnce()) {
    let before = retransmissions(lab);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| go_on(conversations, "after the fault"));
        let repeated = || (retransmissions(lab) >= before + SENT_IN_VAIN).then_some(());
        let waited = within(PATIENCE, repeated);
        end();
        waited.expect("the connection sends again");
        asking.join().expect("every connection goes on");
    });
}

#[test]
fn connections_outlive_a_pulled_cable_which_routers_go_around_meanwhile() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let _birds = Birds::start(&lab, 1);
    let further = Birds::announcement(&lab, 0);
    let appliance = Appliance::start(&lab, 0, &Setup { further, ..Setup::of(2) });
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    wait_for_hops(&lab, 1, &[0]);
    lab.unplug("appliance0");
    through(&lab, &mut conversations, || {
        wait_for_hops(&lab, 1, &[]);
        // A device that tells of its link says so before probes have failed; this one may not.
        let reason = appliance.status().announcements[0].reason;
        assert!(
            [AnnouncementReason::LinkDown, AnnouncementReason::TooFewHealthy].contains(&reason),
            "{reason:?}"
        );
        lab.plug_in("appliance0");
    });
    wait_for_hops(&lab, 1, &[0]);
    appliance.wait_for_health();
}

#[test]
fn connections_outlive_a_backend_whose_interface_is_replaced() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let appliance = Appliance::start(&lab, 0, &Setup::of(2));
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let before = lab.backend(0).mac("eth0");
    lab.replace_backend_device(0);
    assert_ne!(lab.backend(0).mac("eth0"), before);
    go_on(&mut conversations, "with another interface");
    appliance.wait_for_health();
    lab.new_connections_go_to(Family::V4, &["b0", "b1"]);
}

#[test]
fn connections_outlive_a_gateway_that_goes_and_comes_back_as_another_one() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 1);
    let gateway = address::backend(1, Family::V4);
    lab.put_behind_gateway(0, 1);
    let setup =
        Setup { delivery: DeliveryMode::Tunnel("ipip", Family::V4), ..Setup::checked_by(1, http_check()) };
    let toml = setup
        .toml(0, &socket(&lab, 0))
        .replace(&address::backend(0, Family::V4).to_string(), address::BEHIND_GATEWAY);
    let toml = toml.replace("ip_addresses =", &format!("gateways = [\"{gateway}\"]\nip_addresses ="));
    let appliance = Appliance::start_with(&lab, 0, &toml);
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    lab.lose_gateway(1);
    through(&lab, &mut conversations, || {
        within(PATIENCE, || (!appliance.is_healthy()).then_some(())).expect("probes go by the gateway");
        lab.regain_gateway(0, 1);
    });
    appliance.wait_for_health();
}
