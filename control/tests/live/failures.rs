//! Connections survive the death of an appliance, and a change from one appliance to another.

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::client::names;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::setup::Setup;

/// Number of connections: enough for each of three backends to have some.
const CONVERSATIONS: usize = 24;
/// Number of downloads by each family, and of uploads.
const TRANSFERS: usize = 2;

#[test]
fn connections_survive_the_death_and_restart_of_the_appliance() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let mut appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let mut conversations = Vec::new();
    let mut transfers = Vec::new();
    for family in Family::BOTH {
        let vip = Vip::OnLink.web(family);
        conversations.extend(Conversation::several(&lab, vip, CONVERSATIONS));
        for (conversation, who) in Conversation::several(&lab, vip, TRANSFERS) {
            let mut download = conversation.download();
            assert!(download.go_on().expect("the file comes"), "there is more to come");
            transfers.push((download, who));
        }
    }
    let mut uploads = Vec::new();
    for (conversation, who) in Conversation::several(&lab, Vip::OnLink.web(Family::V4), TRANSFERS) {
        let mut upload = conversation.upload();
        assert!(upload.go_on().expect("the body goes"), "there is more to go");
        uploads.push((upload, who));
    }

    appliance.kill();
    appliance.restart();

    go_on(&mut conversations, "after the restart");
    let mut finished = Vec::new();
    for (download, who) in transfers {
        finished.push((download.finish().expect("the rest of the file comes"), who));
    }
    for (upload, who) in uploads {
        finished.push((upload.finish().expect("the rest of the body goes"), who));
    }
    go_on(&mut finished, "after the transfer");
}

#[test]
fn connections_move_between_appliances_with_one_seed() {
    let lab = Lab::new(2, 3);
    let _backends = Backend::all(&lab, 3);
    let setup = Setup::routed(3);
    let appliances = [0, 1].map(|number| Appliance::start(&lab, number, &setup));
    for family in Family::BOTH {
        let vip = Vip::Routed.web(family);
        let mut conversations = Conversation::several(&lab, vip, CONVERSATIONS);
        assert_eq!(names(&conversations.iter().map(|(_, who)| who.clone()).collect::<Vec<_>>()).len(), 3);
        lab.route_by(&[1]);
        go_on(&mut conversations, "moved to the second");
        conversations.extend(Conversation::several(&lab, vip, CONVERSATIONS));
        lab.route_by(&[0, 1]);
        go_on(&mut conversations, "spread over both");
        conversations.extend(Conversation::several(&lab, vip, CONVERSATIONS));
        lab.route_by(&[0]);
        go_on(&mut conversations, "moved back");
    }
    for appliance in appliances {
        assert!(appliance.stats().total.forwarded > 0, "each appliance has forwarded some");
    }
}

#[test]
fn connections_survive_the_death_of_one_of_two_appliances() {
    let lab = Lab::new(2, 3);
    let _backends = Backend::all(&lab, 3);
    let setup = Setup::routed(3);
    let [mut first, _second] = [0, 1].map(|number| Appliance::start(&lab, number, &setup));
    lab.route_by(&[0, 1]);
    let mut conversations = Conversation::several(&lab, Vip::Routed.web(Family::V4), CONVERSATIONS);
    first.kill();
    lab.route_by(&[1]);
    go_on(&mut conversations, "with the second alone");
}

#[test]
fn datagrams_reach_the_same_backend_by_either_appliance() {
    let lab = Lab::new(2, 3);
    let _backends = Backend::all(&lab, 3);
    let setup = Setup::routed(3);
    let _appliances = [0, 1].map(|number| Appliance::start(&lab, number, &setup));
    for family in Family::BOTH {
        let ask = || (0..200).map(|port| lab.ask(Vip::Routed.echo(family), 20_000 + port)).collect();
        lab.route_by(&[0]);
        let by_first: Vec<String> = ask();
        lab.route_by(&[1]);
        let by_second: Vec<String> = ask();
        assert_eq!(by_first, by_second);
        assert_eq!(names(&by_first).len(), 3);
    }
}
