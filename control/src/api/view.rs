//! JSON of the admin interface, which tables and metrics are made from too: all that the running appliance
//! shows.
//!
//! Keys are a stable interface: they are added to, and none changes its meaning. Durations and rates carry
//! their unit in their name, shares are between 0 and 1, times are seconds since 1970, and what does not
//! apply is `null`. Maps by reason or kind hold every word, those with zero too.

mod announcement;
mod backend;
mod condition;
mod conntrack;
mod control_loop;
mod degradation;
mod drops;
mod error;
mod event;
mod explained;
mod health;
mod listing;
mod operator;
mod plan;
mod probes;
mod reload;
mod ring;
mod stats;
mod status;
mod traced;
mod vip;

pub use announcement::{Announcement, AnnouncementReason, Drain, DrainEnd, Guard, Undrained};
pub use backend::{
    Backend, BackendDrain, BackendList, Health, NextHop, PathMtu, Pool, Remaining, WeightSource,
};
pub use condition::Condition;
pub use conntrack::{
    ConnectionState, ConntrackEntry, ConntrackList, ConntrackLookup, WatchedFlow, WatchedFlows,
};
pub use control_loop::{ControlLoop, TurnsByStall};
pub use drops::{CountedBy, DropRow, Drops};
pub use error::{ErrorView, LocatedError};
pub use event::{Event, EventKind, EventList};
pub use explained::Explained;
pub use health::{HealthCheck, HealthChecks, Quantiles, RuleCheck, WeightStatus};
pub use listing::{ListedRule, ListedService, RuleList, ServiceList};
pub use operator::{OperatorSetting, OperatorSettings};
pub use plan::{Fate, Plan, PlanVerdict, PlannedConnections, PlannedService};
pub use probes::{BackendProbes, ProbeAnswer, RuleProbe};
pub use reload::{Change, ChangeKind, Reload, Stopping};
pub use ring::{ClientSubset, Extremes, Ring, RingList, RingQuery, RingShare, Subsetting};
pub use stats::{
    AccessListStats, Arrivals, BackendStats, ConntrackCounts, ConntrackStats, FragmentStats, HostStackStats,
    IcmpErrorStats, LinkStats, PacketStats, PortStats, PortXstats, Rates, RuleStats, ServiceStats, Stats,
    Traffic, TunnelErrorStats, WorkerStats, Xstats,
};
pub use status::{
    EndpointsDns, EndpointsFile, Port, PortMember, PortState, RssState, Service, Status, Worker,
    WorkerQueues, WorkerState,
};
pub use traced::TracedPacket;
pub use vip::{NeighborReplies, Vip, VipList};
