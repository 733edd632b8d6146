//! Events: changes of state, commands and failures.

use serde::{Deserialize, Serialize};

/// List of events, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventList {
    /// Events in the order in which they happened.
    pub events: Vec<Event>,
}

/// Event: a change of state, a command or a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number of the event, from 1; unique within a process.
    pub id: u64,
    /// Time of the event in seconds since 1970, to the millisecond.
    pub at_unix_sec: f64,
    /// Kind of event.
    pub kind: EventKind,
    /// Service of the event; `null` where it concerns none.
    pub service: Option<String>,
    /// Backend of the event; `null` where it concerns none.
    pub backend: Option<String>,
    /// Network of the event; absent where it concerns none, or the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Sentence that tells what has happened.
    pub text: String,
}

/// Kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A backend has turned healthy.
    BackendHealthy,
    /// A backend has turned unhealthy.
    BackendUnhealthy,
    /// A backend has reported another weight, or a service's weights have become equal or no longer are.
    WeightChanged,
    /// A backend of a service answers without a usable weight: the service runs with equal weights.
    WeightsInvalid,
    /// All backends of the service that answer send weights again.
    WeightsValid,
    /// The operator has drained a backend.
    BackendDrained,
    /// The operator has undrained a backend.
    BackendUndrained,
    /// The operator has set a backend's weight.
    WeightSet,
    /// The operator has taken back a backend's drain and weight.
    BackendReset,
    /// The configuration has ended a drain or a weight that an operator had set.
    OperatorSettingDropped,
    /// Settings of operators hold on from before the start, or are kept again after a failure.
    OperatorStateKept,
    /// The file that keeps settings of operators cannot be read or written.
    OperatorStateFailed,
    /// The operator has announced a VIP.
    VipAnnounced,
    /// The operator has withdrawn a VIP.
    VipWithdrawn,
    /// The operator has begun a capture.
    CaptureStarted,
    /// Another configuration is in force.
    Reloaded,
    /// The configuration file is wrong or unreadable; nothing has changed.
    ReloadRefused,
    /// A file of endpoints has changed, or is right again.
    EndpointsFileRead,
    /// A file of endpoints is gone, damaged or empty; its last good answer holds.
    EndpointsFileFailed,
    /// The domain name system has answered with other endpoints, or answers again.
    EndpointsDnsAnswered,
    /// The domain name system does not answer with endpoints; its last good answer holds.
    EndpointsDnsFailed,
    /// A worker does not poll.
    WorkerStalled,
    /// A worker polls again.
    WorkerResumed,
    /// Worker gets much more than its share of the packets.
    LoadUneven,
    /// No worker gets much more than its share of the packets any more.
    LoadEven,
    /// Failures of probes count for nothing, as a worker or the control thread stood still.
    ProbesDiscarded,
    /// The control thread stood still for 100 ms or more.
    ControlStalled,
    /// Another host claims an address of the appliance.
    AddressConflict,
    /// A backend's next hop, or a gateway, has another MAC address.
    NeighborChanged,
    /// Another host claims the address of a backend's next hop or of a gateway, which answers itself.
    NeighborClaimRefused,
    /// A port's link has gone down.
    LinkDown,
    /// A port's link is up again.
    LinkUp,
    /// A port's device has asked for a reset, and was reset.
    PortReset,
    /// A port's device asks for a reset, which fails and is tried again.
    PortResetFailed,
    /// A port's device is gone, and is released.
    PortRemoved,
    /// A router has told that the path to a backend's tunnel takes shorter packets than configured.
    PathMtuLearnt,
    /// Routers are told of an address.
    RouteAnnounced,
    /// Routers are told to forget an address.
    RouteWithdrawn,
    /// A hook that is to tell routers has failed; it is tried again.
    AnnouncementFailed,
    /// The guard, which withdraws announcements of an appliance that dies, has died or cannot be started.
    GuardLost,
    /// Another guard stands in the place of one that had died.
    GuardRestored,
    /// The operator drains the appliance.
    ApplianceDrained,
    /// The operator undrains the appliance.
    ApplianceUndrained,
    /// The drain's wait for the end of traffic is over.
    DrainEnded,
    /// The appliance stops.
    Stopping,
}

impl EventKind {
    /// All kinds of events.
    pub const ALL: [Self; 45] = [
        Self::BackendHealthy,
        Self::BackendUnhealthy,
        Self::WeightChanged,
        Self::WeightsInvalid,
        Self::WeightsValid,
        Self::BackendDrained,
        Self::BackendUndrained,
        Self::WeightSet,
        Self::BackendReset,
        Self::OperatorSettingDropped,
        Self::OperatorStateKept,
        Self::OperatorStateFailed,
        Self::VipAnnounced,
        Self::VipWithdrawn,
        Self::CaptureStarted,
        Self::Reloaded,
        Self::ReloadRefused,
        Self::EndpointsFileRead,
        Self::EndpointsFileFailed,
        Self::EndpointsDnsAnswered,
        Self::EndpointsDnsFailed,
        Self::WorkerStalled,
        Self::WorkerResumed,
        Self::LoadUneven,
        Self::LoadEven,
        Self::ProbesDiscarded,
        Self::ControlStalled,
        Self::AddressConflict,
        Self::NeighborChanged,
        Self::NeighborClaimRefused,
        Self::LinkDown,
        Self::LinkUp,
        Self::PortReset,
        Self::PortResetFailed,
        Self::PortRemoved,
        Self::PathMtuLearnt,
        Self::RouteAnnounced,
        Self::RouteWithdrawn,
        Self::AnnouncementFailed,
        Self::GuardLost,
        Self::GuardRestored,
        Self::ApplianceDrained,
        Self::ApplianceUndrained,
        Self::DrainEnded,
        Self::Stopping,
    ];

    /// Word that JSON, tables and the log show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackendHealthy => "backend_healthy",
            Self::BackendUnhealthy => "backend_unhealthy",
            Self::WeightChanged => "weight_changed",
            Self::WeightsInvalid => "weights_invalid",
            Self::WeightsValid => "weights_valid",
            Self::BackendDrained => "backend_drained",
            Self::BackendUndrained => "backend_undrained",
            Self::WeightSet => "weight_set",
            Self::BackendReset => "backend_reset",
            Self::OperatorSettingDropped => "operator_setting_dropped",
            Self::OperatorStateKept => "operator_state_kept",
            Self::OperatorStateFailed => "operator_state_failed",
            Self::VipAnnounced => "vip_announced",
            Self::VipWithdrawn => "vip_withdrawn",
            Self::CaptureStarted => "capture_started",
            Self::Reloaded => "reloaded",
            Self::ReloadRefused => "reload_refused",
            Self::EndpointsFileRead => "endpoints_file_read",
            Self::EndpointsFileFailed => "endpoints_file_failed",
            Self::EndpointsDnsAnswered => "endpoints_dns_answered",
            Self::EndpointsDnsFailed => "endpoints_dns_failed",
            Self::WorkerStalled => "worker_stalled",
            Self::WorkerResumed => "worker_resumed",
            Self::LoadUneven => "load_uneven",
            Self::LoadEven => "load_even",
            Self::ProbesDiscarded => "probes_discarded",
            Self::ControlStalled => "control_stalled",
            Self::AddressConflict => "address_conflict",
            Self::NeighborChanged => "neighbor_changed",
            Self::NeighborClaimRefused => "neighbor_claim_refused",
            Self::LinkDown => "link_down",
            Self::LinkUp => "link_up",
            Self::PortReset => "port_reset",
            Self::PortResetFailed => "port_reset_failed",
            Self::PortRemoved => "port_removed",
            Self::PathMtuLearnt => "path_mtu_learnt",
            Self::RouteAnnounced => "route_announced",
            Self::RouteWithdrawn => "route_withdrawn",
            Self::AnnouncementFailed => "announcement_failed",
            Self::GuardLost => "guard_lost",
            Self::GuardRestored => "guard_restored",
            Self::ApplianceDrained => "appliance_drained",
            Self::ApplianceUndrained => "appliance_undrained",
            Self::DrainEnded => "drain_ended",
            Self::Stopping => "stopping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_word_everywhere() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::json!(kind), serde_json::json!(kind.as_str()));
        }
    }
}
