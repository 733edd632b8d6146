//! A change of a service's backends that their health checks have come to.

use guideway_model::forwarding_state::StateChange;

/// A change that the services take over from the health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// A backend has turned healthy or unhealthy.
    Health {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// True if the backend is healthy now.
        healthy: bool,
    },
    /// A backend has another weight.
    Weight {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// The weight that counts now.
        weight: u16,
    },
    /// The weights that a service's backends report have begun to count, or no longer do.
    Weights {
        /// Name of the service.
        service: String,
        /// True if they count now; else all weights are equal.
        valid: bool,
    },
}

impl HealthChange {
    /// The change to the forwarding state; none for the validity of weights, which other changes carry out.
    pub fn into_state_change(self) -> Option<StateChange> {
        match self {
            Self::Health { service, backend, healthy } => {
                Some(StateChange::Health { service, backend, healthy })
            }
            Self::Weight { service, backend, weight } => {
                Some(StateChange::ReportedWeight { service, backend, weight })
            }
            Self::Weights { .. } => None,
        }
    }

    /// Name of the service that changes.
    pub fn service(&self) -> &str {
        match self {
            Self::Health { service, .. } | Self::Weight { service, .. } | Self::Weights { service, .. } => {
                service
            }
        }
    }
}
