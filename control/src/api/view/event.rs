//! What has happened.

use serde::{Deserialize, Serialize};

/// Events, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventList {
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 1; no two of a process have the same.
    pub id: u64,
    /// When, in seconds since 1970, to the millisecond.
    pub at_unix_sec: f64,
    /// What kind of event.
    pub kind: EventKind,
    /// The service that it happened to; `null` where it is not about one.
    pub service: Option<String>,
    /// The backend that it happened to; `null` where it is not about one.
    pub backend: Option<String>,
    /// What has happened, in words.
    pub text: String,
}

/// What kind of event.
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
    /// The operator has undrained one.
    BackendUndrained,
    /// The operator has set a backend's weight.
    WeightSet,
    /// The operator has announced a VIP.
    VipAnnounced,
    /// The operator has withdrawn one.
    VipWithdrawn,
    /// The operator has begun a capture.
    CaptureStarted,
    /// Another configuration is in force.
    Reloaded,
    /// The configuration file is wrong or unreadable; nothing has changed.
    ReloadRefused,
    /// A worker does not poll.
    WorkerStalled,
    /// A worker polls again.
    WorkerResumed,
    /// Another host claims an address of the appliance.
    AddressConflict,
    /// Routers are told of an address.
    RouteAnnounced,
    /// Routers are told to forget it.
    RouteWithdrawn,
    /// Who is to tell them has not heard; it is tried again.
    AnnouncementFailed,
    /// The operator drains the appliance.
    ApplianceDrained,
    /// The operator has it serve again.
    ApplianceUndrained,
    /// The wait for the end of traffic is over.
    DrainEnded,
    /// The appliance stops.
    Stopping,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 23] = [
        Self::BackendHealthy,
        Self::BackendUnhealthy,
        Self::WeightChanged,
        Self::WeightsInvalid,
        Self::WeightsValid,
        Self::BackendDrained,
        Self::BackendUndrained,
        Self::WeightSet,
        Self::VipAnnounced,
        Self::VipWithdrawn,
        Self::CaptureStarted,
        Self::Reloaded,
        Self::ReloadRefused,
        Self::WorkerStalled,
        Self::WorkerResumed,
        Self::AddressConflict,
        Self::RouteAnnounced,
        Self::RouteWithdrawn,
        Self::AnnouncementFailed,
        Self::ApplianceDrained,
        Self::ApplianceUndrained,
        Self::DrainEnded,
        Self::Stopping,
    ];

    /// The word that JSON, tables and the log show.
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
            Self::VipAnnounced => "vip_announced",
            Self::VipWithdrawn => "vip_withdrawn",
            Self::CaptureStarted => "capture_started",
            Self::Reloaded => "reloaded",
            Self::ReloadRefused => "reload_refused",
            Self::WorkerStalled => "worker_stalled",
            Self::WorkerResumed => "worker_resumed",
            Self::AddressConflict => "address_conflict",
            Self::RouteAnnounced => "route_announced",
            Self::RouteWithdrawn => "route_withdrawn",
            Self::AnnouncementFailed => "announcement_failed",
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
