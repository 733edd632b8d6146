//! Limits on connections that begin: a client beyond its own gets its connections later, and keeps those that it has.

use std::thread;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::{Appliance, socket};
use crate::lab::backend::Backend;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::setup::Setup;

/// Connections that a source may begin in a second.
const LIMIT: u64 = 4;
/// Connections that the client opens at once: two seconds have not room for all of them.
const AT_ONCE: u64 = 3 * LIMIT;
/// Connections that are open before: as many as begin in one second.
const CONVERSATIONS: usize = LIMIT as usize;

#[test]
fn a_client_beyond_its_limit_keeps_its_connections_and_gets_further_ones_later() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let unlimited = Setup::of(2).toml(0, &socket(&lab, 0));
    let limit = format!("[conntrack]\nnew_connections_per_source_per_sec = {LIMIT}\n");
    let appliance = Appliance::start_with(&lab, 0, &unlimited.replace("[conntrack]\n", &limit));
    let vip = Vip::OnLink.web(Family::V4);
    let mut kept = Conversation::several(&lab, vip, CONVERSATIONS);
    let refused = || appliance.stats().total.dropped["source_rate_limited"];
    assert_eq!(refused(), 0);
    thread::scope(|scope| {
        // A SYN that was dropped is sent again, after a second and then after two.
        for _ in 0..AT_ONCE {
            scope.spawn(|| Conversation::new(&lab, vip).who().expect("it is served in the end"));
        }
        go_on(&mut kept, "while its client opens others");
    });
    assert!(refused() > 0, "{:?}", appliance.stats().total);
    go_on(&mut kept, "after them");
}
