//! Scene of the chaos: an appliance before three backends, one of which is behind a gateway, with BIRD beside it, a disk that can be
//! filled and a clock that can jump.

use std::fs;

use crate::lab::Lab;
use crate::lab::address::{self, Family};
use crate::lab::appliance::{Appliance, config, socket};
use crate::lab::bird::{Birds, wait_for_hops};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{DeliveryMode, Setup, http_check};
use crate::lab::shifted_clock::ShiftedClock;
use crate::lab::small_disk::SmallDisk;

/// Backends that serve, the last of them behind a gateway.
pub(super) const BACKENDS: usize = 3;
/// Namespaces beside client and appliance: those of the backends, and the gateway's.
pub(super) const NAMESPACES: usize = BACKENDS + 1;

/// Everything that a fault may strike.
pub(super) struct Scene<'l> {
    pub(super) lab: &'l Lab,
    pub(super) birds: Birds,
    pub(super) clock: ShiftedClock,
    pub(super) disk: SmallDisk,
    appliance: Appliance<'l>,
    /// Number of the latest configuration, which tells it from those before.
    version: u32,
}

impl<'l> Scene<'l> {
    /// Starts the appliance, and waits until routers have a route to it.
    pub(super) fn new(lab: &'l Lab, birds: Birds) -> Self {
        lab.put_behind_gateway(BACKENDS - 1, BACKENDS);
        let clock = ShiftedClock::new(lab);
        let disk = SmallDisk::new(&lab.directory().join("small"));
        let before = [disk.words(false), clock.words()].concat();
        let appliance = Appliance::start_by(lab, 0, &toml(lab, 0), before);
        wait_for_hops(lab, 1, &[0]);
        Self { lab, birds, clock, disk, appliance, version: 0 }
    }

    pub(super) fn appliance(&self) -> &Appliance<'l> {
        &self.appliance
    }

    /// Kills the appliance, and starts it again.
    pub(super) fn kill(&mut self) {
        self.appliance.kill();
        self.appliance.restart();
    }

    /// Writes another configuration, which differs in nothing that a packet meets.
    pub(super) fn write_configuration(&mut self) {
        self.version += 1;
        fs::write(config(self.lab, 0), toml(self.lab, self.version))
            .expect("the lab's directory can be written");
    }

    /// Waits until the appliance has taken the latest configuration.
    pub(super) fn wait_for_configuration(&self) {
        let reloaded = || self.appliance.must(&["reload"]).contains("nothing changed").then_some(());
        within(PATIENCE, reloaded).expect("the latest configuration is in force");
    }

    pub(super) fn wait_for_health(&self) {
        self.appliance.wait_for_health();
    }

    /// Waits until all is as it was at the start: backends, announcement, snapshots, state file, configuration.
    pub(super) fn converge(&self) {
        self.wait_for_health();
        let is_settled = || {
            let status = self.appliance.status();
            let is_announced = status.announcements.iter().all(|one| one.announced == Some(true));
            let is_kept = status.operator_settings.last_error.is_none();
            let is_guarded = status.guard.is_some_and(|guard| guard.pid.is_some());
            (is_announced && is_kept && is_guarded && status.unreclaimed_snapshots <= 1).then_some(())
        };
        let settled = within(PATIENCE * 2, is_settled);
        settled.unwrap_or_else(|| panic!("{:#?}", self.appliance.status()));
        wait_for_hops(self.lab, 1, &[0]);
        self.wait_for_configuration();
    }
}

fn toml(lab: &Lab, version: u32) -> String {
    let setup = Setup {
        delivery: DeliveryMode::Tunnel("ipip", Family::V4),
        keeps_state: true,
        // The draining time is the mark of a version: nothing drains here.
        draining_timeout_sec: 300 + version % 1_000,
        further: Birds::announcement(lab, 0),
        ..Setup::checked_by(BACKENDS, http_check())
    };
    let toml = setup.toml(0, &socket(lab, 0)).replace("admin-0.state.toml", "small/state.toml");
    let last = address::backend(BACKENDS - 1, Family::V4).to_string();
    let toml = toml.replace(&format!("\"{last}\""), &format!("\"{}\"", address::BEHIND_GATEWAY));
    let gateway = address::backend(BACKENDS, Family::V4);
    toml.replace("ip_addresses =", &format!("gateways = [\"{gateway}\"]\nip_addresses ="))
}
