//! Overview of the appliance in words: the tables that `guideway top` and the status page show.

pub mod drops;
mod grid;
mod history;
mod look;
pub mod machine;
#[cfg(test)]
pub(crate) mod sample;
pub mod services;

use super::amount::count;
use super::view::{Service, Status};

pub use grid::{Cell, Column, Drainable, Grid, Row, Tone};
pub use history::History;
pub use look::{Counter, Look};

/// Alarm: a heading in capitals, and the sentence behind it.
pub type Alarm = (&'static str, String);

/// Alarms of services that nobody serves, or none of whose backends has ever been healthy.
pub fn alarms(status: &Status) -> Vec<Alarm> {
    let nobody = status.services.iter().filter(|service| service.eligible == 0).map(|service| {
        let Service { name, healthy, operator_drained, .. } = service;
        let of = count(service.backends.into(), "backend");
        let text = format!(
            "{name}: of {of}, {healthy} healthy, {operator_drained} drained; new connections are dropped"
        );
        ("NOBODY SERVES", text)
    });
    let is_unproven = |service: &&Service| !service.ever_healthy && service.backends > 0;
    let never = status.services.iter().filter(is_unproven).map(|service| {
        let (name, of) = (&service.name, count(service.backends.into(), "backend"));
        let text = format!(
            "{name}: none of {of} has passed its health checks yet; `guideway backend list --service {name}` says why"
        );
        ("NEVER HEALTHY", text)
    });
    nobody.chain(never).collect()
}
