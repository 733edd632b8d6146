//! Backend services: affinity, policies and the backend groups behind forwarding rules.

use std::num::NonZeroU16;

use guideway_dataplane::affinity::{
    LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};

use super::group_member::{self, GroupMember};
use super::limits::{
    EXTERNAL_IDLE_TIMEOUT_SEC, INTERNAL_IDLE_TIMEOUT_SEC, MAX_IDLE_TIMEOUT_SEC, MAX_SUBSET_SIZE,
};
use super::names::Scope;
use super::report::{Report, Span};
use super::written::choice::{Chosen, LocalityLbPolicy, ServiceProtocol, SubsettingPolicy, WeightSource};
use super::written::field::{Field, Optional};
use super::written::file::{BackendServiceFile, MemberFile, TrackingPolicyFile};
use super::written::value::Integer;

/// A backend service: affinity, policies and backend groups behind forwarding rules.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendService {
    /// Name of the service, unique among backend services.
    pub name: String,
    /// Index of the network that the service's packets leave by, in [`super::Config::networks`]; its forwarding rules and
    /// groups have the same.
    pub network: usize,
    /// Side of the network that the service faces; its forwarding rules have the same.
    pub scheme: LoadBalancingScheme,
    /// Protocol of the forwarding rules that the service may serve.
    pub protocol: ServiceProtocol,
    /// Parts of a packet that choose its backend.
    pub affinity: SessionAffinity,
    /// Identity of a tracked connection.
    pub tracking_mode: TrackingMode,
    /// Persistence of tracked connections on a backend that turned unhealthy.
    pub persistence: PersistenceOnUnhealthy,
    /// Time that a conntrack entry outlives its last packet, in seconds.
    pub idle_timeout_sec: u32,
    /// Time that a removed backend keeps its entries, in seconds; 0 ends them at once.
    pub draining_timeout_sec: u32,
    /// True if backends are chosen in proportion to their weights (`WEIGHTED_MAGLEV`).
    pub weighted: bool,
    /// True if weights are those of the configuration and the operator alone: what backends report does not count
    /// (`weight_source`).
    pub configured_weights: bool,
    /// Conditions under which the failover groups take over; of no effect without such a group.
    pub failover_policy: FailoverPolicy,
    /// Number of backends that each client meets; none where it meets all. A service with weights has none.
    pub subset_size: Option<NonZeroU16>,
    /// Backend groups, in the order of the file; at least one is a primary.
    pub members: Vec<GroupMember>,
    /// Index of the health check in [`super::Config::health_checks`].
    pub health_check: usize,
}

impl BackendService {
    /// True if any of the groups is a failover group.
    pub fn has_failover(&self) -> bool {
        self.members.iter().any(|member| member.failover)
    }

    /// True if the service tracks sessions instead of connections: a session's client goes back to its backend with each
    /// new connection, and each refreshes the session.
    pub fn tracks_sessions(&self) -> bool {
        let by_connection =
            matches!(self.affinity, SessionAffinity::None | SessionAffinity::ClientIpPortProto);
        self.tracking_mode == TrackingMode::PerSession && !by_connection
    }

    /// Settings that a reload tells of one by one, by their keys in the file, with their values there.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let flag = |is: bool| is.to_string();
        let policy = if self.weighted { LocalityLbPolicy::WeightedMaglev } else { LocalityLbPolicy::Maglev };
        let weights = if self.configured_weights { WeightSource::Configured } else { WeightSource::Reported };
        vec![
            ("load_balancing_scheme", Chosen(self.scheme).name().to_owned()),
            ("protocol", Chosen(self.protocol).name().to_owned()),
            ("session_affinity", Chosen(self.affinity).name().to_owned()),
            ("tracking_mode", Chosen(self.tracking_mode).name().to_owned()),
            ("connection_persistence_on_unhealthy_backends", Chosen(self.persistence).name().to_owned()),
            ("idle_timeout_sec", self.idle_timeout_sec.to_string()),
            ("draining_timeout_sec", self.draining_timeout_sec.to_string()),
            ("locality_lb_policy", Chosen(policy).name().to_owned()),
            ("weight_source", Chosen(weights).name().to_owned()),
            ("failover_ratio", self.failover_policy.ratio.to_string()),
            ("drop_traffic_if_unhealthy", flag(self.failover_policy.drop_traffic_if_unhealthy)),
            (
                "disable_connection_drain_on_failover",
                flag(self.failover_policy.disable_connection_drain_on_failover),
            ),
            ("subset_size", self.subset_size.map_or_else(|| "none".to_owned(), |size| size.to_string())),
        ]
    }

    pub(super) fn parse(file: &BackendServiceFile, scope: &Scope<'_>, report: &mut Report) -> Option<Self> {
        let network = scope.networks.resolve(&file.network, report);
        let scheme = file.scheme();
        let affinity = file.affinity(report);
        let tracking = file.tracking(report);
        let failover_policy = file.failover_policy(report);
        let subset_size = file.subset_size(report);
        let health_check = file.health_check(scope, report);
        let members = group_member::parse(file, scope, report);

        let Tracking { mode, persistence, idle_timeout_sec } = tracking?;
        Some(Self {
            name: file.name.get()?.0.clone(),
            network: network?,
            scheme: scheme?,
            protocol: file.protocol()?.0,
            affinity: affinity?,
            tracking_mode: mode,
            persistence,
            idle_timeout_sec,
            draining_timeout_sec: file.draining_timeout_sec()?,
            weighted: file.weighted()?,
            configured_weights: file.configured_weights()?,
            failover_policy: failover_policy?,
            subset_size: subset_size?,
            members: members?,
            health_check: health_check?,
        })
    }
}

/// A tracking policy with its defaults.
struct Tracking {
    mode: TrackingMode,
    persistence: PersistenceOnUnhealthy,
    idle_timeout_sec: u32,
}

impl BackendServiceFile {
    /// Side of the network that the service faces.
    pub(super) fn scheme(&self) -> Option<LoadBalancingScheme> {
        Some(self.load_balancing_scheme()?.0)
    }

    /// Span of the scheme if it is written, else of the name.
    pub(super) fn span_of_scheme(&self) -> &Span {
        self.load_balancing_scheme.as_ref().map_or(self.name.span(), Field::span)
    }

    /// Span of the network if it is written, else of the name.
    pub(super) fn span_of_network(&self) -> &Span {
        self.network.as_ref().map_or(self.name.span(), Field::span)
    }

    /// Span of the protocol if it is written, else of the name.
    pub(super) fn span_of_protocol(&self) -> &Span {
        self.protocol.as_ref().map_or(self.name.span(), Field::span)
    }

    fn draining_timeout_sec(&self) -> Option<u32> {
        Some(self.connection_draining.value_or_default()?.draining_timeout_sec()?.0)
    }

    fn weighted(&self) -> Option<bool> {
        Some(self.locality_lb_policy()?.0 == LocalityLbPolicy::WeightedMaglev)
    }

    fn configured_weights(&self) -> Option<bool> {
        Some(self.weight_source()?.0 == WeightSource::Configured)
    }

    fn affinity(&self, report: &mut Report) -> Option<SessionAffinity> {
        let affinity = self.session_affinity()?.0;
        if let (Some(LoadBalancingScheme::External), SessionAffinity::ClientIpNoDestination, Some(written)) =
            (self.scheme(), affinity, &self.session_affinity)
        {
            report.error(
                written.span(),
                "`CLIENT_IP_NO_DESTINATION` is for INTERNAL services only",
                "choose `CLIENT_IP`, or make the service and its rules INTERNAL",
            );
        }
        Some(affinity)
    }

    fn tracking(&self, report: &mut Report) -> Option<Tracking> {
        let default_timeout = self.scheme().map(|scheme| match scheme {
            LoadBalancingScheme::External => EXTERNAL_IDLE_TIMEOUT_SEC,
            LoadBalancingScheme::Internal => INTERNAL_IDLE_TIMEOUT_SEC,
        });
        let policy = &self.connection_tracking_policy.value_or_default()?;
        let mode = policy.tracking_mode().map(|chosen| chosen.0);
        let persistence = policy.connection_persistence_on_unhealthy_backends();
        if let (Some(TrackingMode::PerSession), Some(PersistenceOnUnhealthy::AlwaysPersist), Some(written)) =
            (mode, persistence.map(|chosen| chosen.0), &policy.connection_persistence_on_unhealthy_backends)
        {
            report.error_beside(
                written.span(),
                "`ALWAYS_PERSIST` with tracking mode `PER_SESSION`",
                "choose `NEVER_PERSIST`, or track `PER_CONNECTION`",
                policy.tracking_mode.as_ref().map(|mode| (mode.span(), "PER_SESSION".to_owned())),
            );
        }
        self.check_idle_timeout(policy, report);
        Some(Tracking {
            mode: mode?,
            persistence: persistence?.0,
            idle_timeout_sec: policy.idle_timeout_sec.value_or(Integer(default_timeout?))?.0,
        })
    }

    /// Reports an idle timeout other than the fixed one, unless sessions of an internal service are tracked by more than
    /// their connections.
    fn check_idle_timeout(&self, policy: &TrackingPolicyFile, report: &mut Report) {
        let (Some(scheme), Some(written)) = (self.scheme(), &policy.idle_timeout_sec) else { return };
        let Some(Integer(seconds)) = written.copied() else { return };
        if scheme == LoadBalancingScheme::External {
            if seconds != EXTERNAL_IDLE_TIMEOUT_SEC {
                report.error(
                    written.span(),
                    format!("the idle timeout is {EXTERNAL_IDLE_TIMEOUT_SEC} seconds for an EXTERNAL service, fixed"),
                    "leave it out",
                );
            }
            return;
        }
        if seconds < INTERNAL_IDLE_TIMEOUT_SEC {
            report.error(
                written.span(),
                format!(
                    "the idle timeout of an INTERNAL service is at least {INTERNAL_IDLE_TIMEOUT_SEC} seconds"
                ),
                format!("write {INTERNAL_IDLE_TIMEOUT_SEC} to {MAX_IDLE_TIMEOUT_SEC}"),
            );
            return;
        }
        let (Some(Chosen(mode)), Some(Chosen(affinity))) = (policy.tracking_mode(), self.session_affinity())
        else {
            return;
        };
        let settable = mode == TrackingMode::PerSession
            && matches!(
                affinity,
                SessionAffinity::ClientIp
                    | SessionAffinity::ClientIpProto
                    | SessionAffinity::ClientIpNoDestination
            );
        if seconds > INTERNAL_IDLE_TIMEOUT_SEC && !settable {
            report.error(
                written.span(),
                format!("the idle timeout is {INTERNAL_IDLE_TIMEOUT_SEC} seconds here, fixed"),
                "it can be raised with `tracking_mode = \"PER_SESSION\"` and session affinity `CLIENT_IP`, \
                 `CLIENT_IP_PROTO` or `CLIENT_IP_NO_DESTINATION`",
            );
        }
    }

    fn failover_policy(&self, report: &mut Report) -> Option<FailoverPolicy> {
        let file = self.failover_policy.value_or_default()?;
        let primary = |member: &Field<_>| member.get().and_then(MemberFile::failover) == Some(false);
        if let Some(policy) = &self.failover_policy
            && self.backends.get().is_some_and(|members| members.iter().all(primary))
        {
            report.error(
                policy.span(),
                "a failover policy without a failover group",
                "add `failover = true` to one of the service's `backends`, or leave the policy out",
            );
        }
        Some(FailoverPolicy {
            ratio: file.failover_ratio()?.0,
            drop_traffic_if_unhealthy: file.drop_traffic_if_unhealthy()?,
            disable_connection_drain_on_failover: file.disable_connection_drain_on_failover()?,
        })
    }

    /// Size of the subsets; none in it where there are no subsets.
    fn subset_size(&self, report: &mut Report) -> Option<Option<NonZeroU16>> {
        let Some(written) = &self.subsetting else { return Some(None) };
        let subsetting = written.get()?;
        let size = match &subsetting.subset_size {
            Some(size) => Some((size.span(), size.copied()?)),
            None => None,
        };
        match (subsetting.policy()?.0, size) {
            (SubsettingPolicy::None, None) => return Some(None),
            (SubsettingPolicy::None, Some((span, _))) => {
                report.error(
                    span,
                    "`subset_size` without a policy that has subsets",
                    "write `policy = \"CONSISTENT_HASH_SUBSETTING\"` beside it, or leave it out",
                );
            }
            (SubsettingPolicy::ConsistentHash, None) => {
                report.error(
                    written.span(),
                    "`CONSISTENT_HASH_SUBSETTING` without a `subset_size`",
                    format!("write how many backends each client meets, 1 to {MAX_SUBSET_SIZE}"),
                );
            }
            (SubsettingPolicy::ConsistentHash, Some((_, Integer(size)))) => {
                self.check_subsetting(written.span(), report);
                return Some(NonZeroU16::new(size as u16));
            }
        }
        None
    }

    /// Reports subsets of a service that cannot have them.
    fn check_subsetting(&self, span: &Span, report: &mut Report) {
        if self.scheme() == Some(LoadBalancingScheme::External) {
            report.error(
                span,
                "subsets are for INTERNAL services only",
                "leave `subsetting` out, or make the service and its rules INTERNAL",
            );
        }
        if let (Some(true), Some(policy)) = (self.weighted(), &self.locality_lb_policy) {
            report.error_beside(
                span,
                "subsets contradict weights: a client that meets few backends cannot have all of them in proportion",
                "choose `locality_lb_policy = \"MAGLEV\"`, or leave `subsetting` out",
                [(policy.span(), "chooses by weight".to_owned())],
            );
        }
    }

    /// The one health check; where weights are reported, it must be able to carry them.
    fn health_check(&self, scope: &Scope<'_>, report: &mut Report) -> Option<usize> {
        let names = self.health_checks.get()?;
        let [name] = names.as_slice() else {
            let message = format!("a backend service has one health check, not {}", names.len());
            let help = match names.as_slice() {
                [] => "name one: without it, no backend would ever be healthy",
                _ => "keep one of them",
            };
            report.error(self.health_checks.span(), message, help);
            return None;
        };
        let index = scope.health_checks.resolve(name, report)?;
        if let Some((_, check)) = scope.health_checks.find(name)
            && let (Some(true), Some(false)) = (self.weighted(), self.configured_weights())
            && let Some(Chosen(kind)) = check.r#type.copied()
            && !kind.is_http()
        {
            report.error_beside(
                name.span(),
                format!("weights cannot come from a health check of type {}", Chosen(kind).name()),
                "choose a health check of type HTTP, HTTPS or HTTP2, or write `weight_source = \"CONFIGURED\"`",
                [(check.r#type.span(), "its type".to_owned())],
            );
        }
        Some(index)
    }
}

/// Conditions under which the failover groups of a service take over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailoverPolicy {
    /// Share of usable primaries below which traffic moves to the failover groups, 0.0 to 1.0.
    pub ratio: f64,
    /// True if new connections are dropped while no backend is usable.
    pub drop_traffic_if_unhealthy: bool,
    /// True if every entry of the service ends when traffic moves between primary and failover groups.
    pub disable_connection_drain_on_failover: bool,
}
