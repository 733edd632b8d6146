//! A plan as the script has it: one service whose backend goes, and a rule that takes fewer packets.

use guideway::api::view::{Change, ChangeKind, Fate, Plan, PlanVerdict, PlannedConnections, PlannedService};

pub(crate) fn plan() -> Plan {
    let change = |change, text: &str| Change { change, text: text.into() };
    let connections = |backend: &str, fate, cause: &str, count| PlannedConnections {
        service: "web".into(),
        backend: backend.into(),
        fate,
        cause: cause.into(),
        count: Some(count),
    };
    Plan {
        old: "/etc/guideway/guideway.toml".into(),
        new: "new.toml".into(),
        configuration_generation: Some(2),
        verdict: PlanVerdict::ConnectionsAtRisk,
        needs_restart: true,
        changes: vec![
            change(ChangeKind::NeedsRestart, "[conntrack]: takes effect at the next start"),
            change(ChangeKind::Changed, "forwarding rule web"),
            change(ChangeKind::Removed, "backend web/web-2: drains for 300 s"),
        ],
        removals: Some("3 of 5 backends".into()),
        services: vec![
            PlannedService {
                service: "firewall".into(),
                eligible_before: Some(2),
                eligible_after: Some(2),
                slots: 65_537,
                slots_moved: Some(0),
                share_moved: 0.0,
                tracked: Some(12),
            },
            PlannedService {
                service: "web".into(),
                eligible_before: Some(2),
                eligible_after: Some(1),
                slots: 65_537,
                slots_moved: Some(21_845),
                share_moved: 0.333_32,
                tracked: Some(1_200),
            },
        ],
        connections: vec![
            connections("web-1", Fate::MayEnd, "gone, or takes fewer packets: web", 800),
            connections("web-2", Fate::Drain, "the backend is removed, and drains for 300 s", 400),
        ],
        warnings: Vec::new(),
    }
}
