//! Supervisor that answers requests of the admin interface out of a small configuration, which nothing changes.

use std::cell::RefCell;
use std::time::Duration;

use guideway::api::request::{BackendName, Refused, Reply, Request};
use guideway::api::view::{
    BackendList, BackendProbes, ConntrackList, Drain, EventList, Explained, NeighborReplies, Plan, Remaining,
    RingList, RuleList, ServiceList, Stopping, Undrained, VipList, Xstats,
};
use guideway_model::config::{Config, Sources, VipRange};
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::explain::explain;
use guideway_model::forwarding_state::{ForwardingState, StateChange};
use guideway_model::plan::Planner;
use guideway_model::removals::Removals;
use guideway_model::service::UnknownName;
use tokio::sync::mpsc;

/// Path that answers call the configuration by.
const CONFIG_PATH: &str = "guideway.toml";

/// Configuration of the appliance.
const CONFIG: &str = r#"
[[network]]
name = "n"
ipv4_address = "192.0.2.1"
[[health_check]]
name = "check"
type = "TCP"
[[backend_group]]
name = "web"
endpoints = [{ name = "web-1", ip_address = "10.1.0.1" }, { name = "web-2", ip_address = "10.1.0.2" }]
[[backend_service]]
name = "web"
protocol = "TCP"
load_balancing_scheme = "INTERNAL"
health_checks = ["check"]
backends = [{ group = "web" }]
[[forwarding_rule]]
name = "web"
load_balancing_scheme = "INTERNAL"
ip_address = "192.0.2.10"
ip_protocol = "TCP"
all_ports = true
backend_service = "web"
"#;

thread_local! {
    static STATE: RefCell<ForwardingState> = RefCell::new({
        let config = Config::parse("supervisor.toml", CONFIG).unwrap_or_else(|errors| panic!("{errors}"));
        let mut state = ForwardingState::offline(config);
        state.settle();
        state
    });
}

/// Answers requests until nobody can ask any more. A client who may only look is never heard with a change.
pub(super) async fn play(mut asked: mpsc::Receiver<Request>, may_change: bool) {
    while let Some(request) = asked.recv().await {
        assert!(may_change || !is_change(&request), "a client who may look asks for {request:?}");
        answer(request);
    }
}

/// True if a request changes the appliance, or shows what clients and backends say to each other.
fn is_change(request: &Request) -> bool {
    match request {
        Request::Status { .. }
        | Request::Stats { .. }
        | Request::Xstats { .. }
        | Request::ServiceList { .. }
        | Request::RuleList { .. }
        | Request::ConntrackList { .. }
        | Request::ConntrackGet { .. }
        | Request::BackendList { .. }
        | Request::BackendGet { .. }
        | Request::BackendRemaining { .. }
        | Request::VipList { .. }
        | Request::Events { .. }
        | Request::Plan { .. }
        | Request::Explain { .. }
        | Request::Ring { .. } => false,
        Request::BackendProbe { .. }
        | Request::BackendDrain { .. }
        | Request::BackendUndrain { .. }
        | Request::BackendReset { .. }
        | Request::BackendSetWeight { .. }
        | Request::VipAnnounce { .. }
        | Request::VipWithdraw { .. }
        | Request::Capture { .. }
        | Request::ConntrackWatch { .. }
        | Request::Trace { .. }
        | Request::Reload { .. }
        | Request::Drain { .. }
        | Request::Undrain { .. }
        | Request::Stop { .. } => true,
    }
}

fn answer(request: Request) {
    match request {
        Request::Status { reply } => refuse(reply, Refused::ListRunning),
        Request::Stats { reply } => refuse(reply, Refused::ReloadedMeanwhile),
        Request::Xstats { reply } => send(reply, Xstats { ports: Vec::new() }),
        Request::ServiceList { reply } => send(reply, ServiceList { services: Vec::new() }),
        Request::RuleList { reply } => send(reply, RuleList { rules: Vec::new() }),
        Request::ConntrackList { reply, .. } => {
            send(reply, ConntrackList { matching: 0, entries: Vec::new() });
        }
        Request::ConntrackGet { flow, reply, .. } => {
            refuse(reply, UnknownName::Network(flow.to_string()).into());
        }
        Request::BackendList { service: Some(service), reply } => {
            refuse(reply, UnknownName::Service(service).into());
        }
        Request::BackendList { service: None, reply } => send(reply, BackendList { backends: Vec::new() }),
        Request::BackendGet { service, backend, reply } => {
            refuse(reply, UnknownName::Backend(service, backend).into());
        }
        Request::BackendRemaining { reply, .. } => {
            send(reply, Remaining { connections: 1, sessions: 0, warning: None });
        }
        Request::BackendProbe { service, backend, reply } => {
            send(reply, BackendProbes { service, backend, probes: Vec::new() });
        }
        Request::BackendDrain { service, backend, reply, .. } => {
            refuse(reply, Refused::BackendRemoved { service, backend });
        }
        Request::BackendUndrain { service, backend, reply } => {
            refuse(reply, Refused::AmbiguousBackend { backend, services: vec![service] });
        }
        Request::BackendReset { service, backend, reply } => {
            refuse(reply, UnknownName::Backend(service, backend).into());
        }
        Request::BackendSetWeight { service, reply, .. } => {
            refuse(reply, Refused::ServiceNotWeighted(service));
        }
        Request::VipList { reply } => send(reply, VipList { vips: Vec::new() }),
        Request::VipAnnounce { address, reply, .. } => refuse(reply, vip(address)),
        Request::VipWithdraw { address, reply, .. } => refuse(reply, vip(address)),
        Request::Capture { filter, blocks, reply, .. } => {
            if let Some(name) = filter.service {
                refuse(reply, Refused::UnknownAmong { kind: "service", name, known: vec!["web".to_owned()] });
            } else {
                send(reply, ());
                let _ = blocks.try_send("block".into());
            }
        }
        Request::ConntrackWatch { filter, lines, reply, .. } => {
            if let Some(name) = filter.backend {
                refuse(reply, Refused::UnknownAmong { kind: "backend", name, known: Vec::new() });
            } else {
                send(reply, ());
                let _ = lines.try_send("{}\n".into());
            }
        }
        Request::Trace { reply, .. } => refuse(reply, Refused::CaptureRunning),
        Request::Events { reply, .. } => send(reply, EventList { events: Vec::new() }),
        Request::Plan { config, reply } => tell(reply, planned(config)),
        Request::Explain { flow, network, unhealthy, reply } => {
            let explained = marked(unhealthy).and_then(|mut state| {
                let snapshot = state.snapshot(&StandInMacs);
                let explanation = explain(flow, state.network_named(network.as_deref())?, &state, &snapshot);
                Ok(Explained {
                    config_path: CONFIG_PATH.to_owned(),
                    configuration_generation: 1,
                    explanation,
                })
            });
            tell(reply, explained);
        }
        Request::Ring { query, unhealthy, reply } => {
            let rings = marked(unhealthy).and_then(|mut state| {
                let snapshot = state.snapshot(&StandInMacs);
                let rings = query.rings(&state, &snapshot)?;
                Ok(RingList { config_path: CONFIG_PATH.to_owned(), configuration_generation: 1, rings })
            });
            tell(reply, rings);
        }
        Request::Reload { reply, .. } => {
            let removals = Removals { rules: 1, rules_removed: 1, backends: 2, backends_removed: 2 };
            refuse(reply, Refused::RemovalsUnconfirmed(removals));
        }
        Request::Drain { deadline, stop, reply } => {
            let deadline_sec = deadline.as_secs();
            let drain = Drain {
                withdrawn: true,
                quiet_sec: 0,
                deadline_sec,
                end: None,
                stops: stop,
                answered_vips: Vec::new(),
            };
            send(reply, drain);
        }
        Request::Undrain { reply } => send(reply, Undrained { was_drained: false }),
        Request::Stop { reply } => send(reply, Stopping { pid: 1 }),
    }
}

/// State in which these backends are unhealthy.
fn marked(unhealthy: Vec<BackendName>) -> Result<ForwardingState, Refused> {
    let mut state = STATE.with_borrow(ForwardingState::copied);
    let changes = unhealthy.into_iter().map(|BackendName { service, backend }| StateChange::Health {
        service,
        backend,
        healthy: false,
    });
    state.apply(changes, Duration::ZERO).all_known()?;
    Ok(state)
}

/// Plan of a reload of this configuration, or of the own one.
fn planned(config: Option<Sources>) -> Result<Plan, Refused> {
    let sources = config.unwrap_or_else(|| Sources::of_text(CONFIG_PATH, CONFIG));
    let config = Config::parse_to_run(&sources).map_err(Refused::Config)?;
    let before = STATE.with_borrow(ForwardingState::copied);
    let planner = Planner::new(before, config, Duration::ZERO);
    Ok(Plan::new(planner.plan(), CONFIG_PATH, &sources.main.name, Vec::new()))
}

fn vip(address: VipRange) -> Refused {
    if address == VipRange::from(std::net::IpAddr::from([192, 0, 2, 10])) {
        return Refused::VipNotAnnounceable { address, neighbor_replies: NeighborReplies::Always };
    }
    Refused::UnknownVip(address)
}

fn send<T>(reply: Reply<T>, answer: T) {
    tell(reply, Ok(answer));
}

fn refuse<T>(reply: Reply<T>, refused: Refused) {
    tell(reply, Err(refused));
}

fn tell<T>(reply: Reply<T>, answer: Result<T, Refused>) {
    // Whoever asked may be gone.
    let _ = reply.send(answer);
}
