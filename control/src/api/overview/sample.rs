//! Looks at an appliance with two ports, two workers and two services, for the tests of tables.

use std::time::Duration;

use crate::api::view::{Backend, Drops, Stats, Status};
use serde::Deserialize;

use super::history::History;
use super::look::Look;

/// Answers of the appliance, as they come over its socket.
#[derive(Deserialize)]
struct Answers {
    status: Status,
    stats: Stats,
    backends: Vec<Backend>,
}

/// Look at an appliance with a backend that fails, one that serves, one that is drained, and one that is removed.
pub(crate) fn look() -> Look {
    let answers = serde_json::from_str(include_str!("sample.json")).expect("the answers are of this version");
    let Answers { status, stats, backends } = answers;
    Look { status, drops: Drops::new(&stats), stats, backends }
}

/// Look at the same, and its history of ten seconds in which some packets came and were lost.
pub(crate) fn followed() -> (Look, History) {
    let (before, mut now, mut history) = (look(), look(), History::default());
    history.add(&before, Duration::ZERO);
    now.stats.ports[0].received += 120_000;
    now.stats.ports[0].sent += 100_000;
    now.stats.ports[0].missed += 50;
    now.stats.workers[0].packets.offered += 120_000;
    *now.stats.total.dropped.entry("ttl_expired".to_owned()).or_default() += 420;
    now.drops = Drops::new(&now.stats);
    history.add(&now, Duration::from_secs(10));
    (now, history)
}
