//! Tests of the forwarding state: what a set of changes comes to in snapshots, names and totals.

use std::collections::BTreeSet;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::conntrack::{Entry, Stage, Standing};
use guideway_dataplane::frame::Frame;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::snapshot::Eligible;
use guideway_dataplane::time::Tick;
use guideway_engine::mbuf::Mbuf;

use super::*;
use crate::egress_lookup::StandInMacs;
use crate::sample::sample;

mod networks;

fn config(network: &str, group: &str) -> Config {
    let service = "backends = [{ group = \"group\" }]\nconnection_draining = { draining_timeout_sec = 30 }";
    sample(network, service, &format!("[[backend_group]]\nname = \"group\"\n{group}"))
}

/// Two services, `one` with backend `a` and `two` with backend `b`.
fn two_services() -> Config {
    let service = |name: &str, host: u8, backend: &str| {
        format!(
            "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"203.0.113.{host}\"\nip_protocol = \"TCP\"\n\
             all_ports = true\nbackend_service = \"{name}\"\n[[backend_service]]\nname = \"{name}\"\n\
             health_checks = [\"hc\"]\nbackends = [{{ group = \"{name}\" }}]\n[[backend_group]]\nname = \"{name}\"\n\
             endpoints = [{{ name = \"{backend}\", ip_address = \"10.1.0.{host}\" }}]\n"
        )
    };
    let check = "[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n";
    let text = format!("{check}{}{}", service("one", 1, "a"), service("two", 2, "b"));
    Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn handle(state: &ForwardingState, service: &str) -> BackendHandle {
    state.services().get(service).unwrap().backends().next().unwrap().handle
}

fn health(service: &str, backend: &str, healthy: bool) -> StateChange {
    StateChange::Health { service: service.to_owned(), backend: backend.to_owned(), healthy }
}

/// An egress lookup that counts the questions for each address.
#[derive(Default)]
struct Counting(std::cell::RefCell<Vec<String>>);

impl EgressLookup for Counting {
    fn egress(&self, network: NetworkId, destination: Address) -> guideway_dataplane::egress::Egress {
        self.0.borrow_mut().push(std::net::IpAddr::from(destination).to_string());
        StandInMacs.egress(network, destination)
    }
}

/// A reload takes the appliance's own address away while a backend drains behind a tunnel.
#[test]
fn a_draining_backend_keeps_the_tunnel_that_it_was_reached_by() {
    let before = config(
        "[network]\nipv4_address = \"192.0.2.1\"",
        "delivery = \"ipip\"\nendpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]",
    );
    let after = config("", "endpoints = [{ name = \"b\", ip_address = \"10.1.0.2\" }]");
    let mut state = ForwardingState::offline(before);
    let draining = handle(&state, "svc");
    state.apply([StateChange::Config(Box::new(after))], Duration::from_secs(1));
    let snapshot = state.snapshot(&StandInMacs);

    let packet =
        pcap_fixtures::packet::Packet::between("198.51.100.7", "203.0.113.10").tcp(40_000, 443, 0x10);
    let mut frame = Mbuf::new();
    frame.fill(&packet.build());
    let parsed = Packet::parse(frame.bytes()).unwrap();
    snapshot.backend(draining).unwrap().delivery.deliver(&mut frame, &parsed, &parsed.flow).unwrap();
    assert_eq!(frame.bytes()[26..34], [192, 0, 2, 1, 10, 1, 0, 1], "the outer source and destination");
}

#[test]
fn tables_and_rules_that_a_change_leaves_alone_are_shared_between_snapshots() {
    let config = config("", "endpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]");
    let mut state = ForwardingState::offline(config);
    let first = state.snapshot(&StandInMacs);
    let (service, backend) = ("svc".to_owned(), "a".to_owned());
    state.apply([StateChange::ReportedWeight { service, backend, weight: 7 }], Duration::ZERO);
    let second = state.snapshot(&StandInMacs);
    assert!(Arc::ptr_eq(&first.networks.first().rules, &second.networks.first().rules));
    assert!(Arc::ptr_eq(&first.services[0].eligible, &second.services[0].eligible), "weights are not in use");
    assert_eq!(second.generation, first.generation + 1);
}

#[test]
fn a_change_remakes_its_own_service_alone() {
    let mut state = ForwardingState::offline(two_services());
    state.snapshot(&StandInMacs);
    assert!(!state.is_stale());
    state.apply([health("two", "b", false)], Duration::ZERO);
    assert!(state.is_stale());
    let asked = Counting::default();
    let snapshot = state.snapshot(&asked);
    assert_eq!(asked.0.take(), ["10.1.0.2"], "the delivery of the other service's backend stays");
    assert!(snapshot.backend(handle(&state, "one")).is_some());
    assert!(snapshot.backend(handle(&state, "two")).is_some());
    assert!(!state.is_stale());
}

/// A service of six backends, `b0` to `b5`, of which each client meets so many.
fn with_subsets(size: u16, seed: &str) -> Config {
    let endpoint = |number| format!("{{ name = \"b{number}\", ip_address = \"10.1.0.{}\" }}", number + 1);
    let endpoints: Vec<String> = (0..6).map(endpoint).collect();
    let text = format!(
        "[fleet]\nseed = \"{seed}\"\n[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n\
         [[backend_service]]\nname = \"svc\"\nload_balancing_scheme = \"INTERNAL\"\nhealth_checks = [\"hc\"]\n\
         backends = [{{ group = \"g\" }}]\n\
         subsetting = {{ policy = \"CONSISTENT_HASH_SUBSETTING\", subset_size = {size} }}\n\
         [[backend_group]]\nname = \"g\"\nendpoints = [{}]",
        endpoints.join(", ")
    );
    Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

const SEED: &str = "000102030405060708090a0b0c0d0e0f";

/// Names of the backends in the subsets of all classes.
fn subsets(state: &ForwardingState) -> Vec<Vec<String>> {
    let table = state.lookup_tables().next().unwrap();
    let classes = table.subsets().map_or(0, |subsets| subsets.iter().len());
    (0..classes).map(|class| table.subset(class).map(str::to_owned).collect()).collect()
}

#[test]
fn subsets_are_of_eligible_backends_and_a_loss_leaves_the_others_their_seats() {
    let mut state = ForwardingState::offline(with_subsets(2, SEED));
    let before = (state.snapshot(&StandInMacs), subsets(&state));
    state.apply([health("svc", "b3", false)], Duration::ZERO);
    let after = (state.snapshot(&StandInMacs), subsets(&state));
    assert!(before.1.iter().flatten().any(|name| name == "b3"));
    assert!(after.1.iter().flatten().all(|name| name != "b3"));
    let seats = || before.1.iter().flatten().zip(after.1.iter().flatten());
    let needlessly = seats().filter(|(before, after)| before != after && *before != "b3").count();
    assert!(needlessly * 20 < seats().count(), "{needlessly} of {} seats", seats().count());
    state.apply([health("svc", "b3", true)], Duration::ZERO);
    state.snapshot(&StandInMacs);
    assert_eq!(subsets(&state), before.1, "what comes back has what it had");
}

#[test]
fn a_service_with_too_few_eligible_backends_for_subsets_has_none() {
    let mut state = ForwardingState::offline(with_subsets(4, SEED));
    let has_subsets = |snapshot: &Snapshot| snapshot.services[0].eligible.subsets.is_some();
    assert!(has_subsets(&state.snapshot(&StandInMacs)));
    state.apply([health("svc", "b0", false)], Duration::ZERO);
    assert!(has_subsets(&state.snapshot(&StandInMacs)), "4 of 5");
    state.apply([health("svc", "b1", false)], Duration::ZERO);
    assert!(!has_subsets(&state.snapshot(&StandInMacs)), "all four");
}

#[test]
fn another_size_or_seed_is_another_choice_with_another_digest() {
    let choice = |size, seed| {
        let mut state = ForwardingState::offline(with_subsets(size, seed));
        state.snapshot(&StandInMacs);
        let digest = state.lookup_tables().next().unwrap().digest();
        (digest, subsets(&state))
    };
    let two = choice(2, SEED);
    assert_eq!(choice(2, SEED), two);
    for (size, seed) in [(3, SEED), (6, SEED), (2, "ffffffffffffffffffffffffffffffff")] {
        let other = choice(size, seed);
        assert!(other.0 != two.0 && other.1 != two.1, "{size}, {seed}");
    }
}

#[test]
fn subsets_are_shared_between_snapshots_until_their_size_changes() {
    let mut state = ForwardingState::offline(with_subsets(2, SEED));
    let first = state.snapshot(&StandInMacs);
    state.apply([StateChange::Config(Box::new(with_subsets(2, SEED)))], Duration::ZERO);
    let second = state.snapshot(&StandInMacs);
    assert!(Arc::ptr_eq(&first.services[0].eligible, &second.services[0].eligible));
    state.apply([StateChange::Config(Box::new(with_subsets(3, SEED)))], Duration::ZERO);
    let third = state.snapshot(&StandInMacs);
    assert_eq!(third.services[0].eligible.subsets.as_ref().map(|subsets| subsets.size()), Some(3));
}

#[test]
fn services_that_choose_alike_share_a_choice_that_is_made_once() {
    const SERVICES: usize = 20;
    let head = "[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\n\
                [[backend_group]]\nname = \"g\"\nendpoints = [";
    let endpoints: Vec<_> =
        (1..9).map(|n| format!("{{ name = \"b{n}\", ip_address = \"10.1.0.{n}\" }}")).collect();
    let service = |number: usize| {
        format!(
            "[[forwarding_rule]]\nname = \"s{number}\"\nload_balancing_scheme = \"INTERNAL\"\nip_address = \"203.0.113.{number}\"\n\
             ports = [80]\nbackend_service = \"s{number}\"\n[[backend_service]]\nname = \"s{number}\"\n\
             load_balancing_scheme = \"INTERNAL\"\nhealth_checks = [\"hc\"]\nbackends = [{{ group = \"g\" }}]\n\
             subsetting = {{ policy = \"CONSISTENT_HASH_SUBSETTING\", subset_size = 2 }}\n"
        )
    };
    let text = format!("{head}{}]\n", endpoints.join(", "));
    let text = (0..SERVICES).fold(text, |text, number| text + &service(number));
    let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let mut state = ForwardingState::offline(config);
    // Subsets are one where their seats lie in one place of memory.
    let different = |snapshot: &Snapshot| -> usize {
        let seats = |eligible: &Eligible| eligible.subsets.as_ref().unwrap().of_class(0).as_ptr();
        snapshot.services.iter().map(|service| seats(&service.eligible)).collect::<BTreeSet<_>>().len()
    };
    let before = state.snapshot(&StandInMacs);
    assert_eq!(different(&before), 1);
    let handles = before.services.iter().map(|service| service.eligible.backends.to_vec());
    assert_eq!(handles.collect::<BTreeSet<_>>().len(), SERVICES, "each has its own backends");
    // An endpoint fails, as each service's checks see it in their own time.
    for number in 0..SERVICES {
        state.apply([health(&format!("s{number}"), "b3", false)], Duration::ZERO);
        assert_eq!(different(&state.snapshot(&StandInMacs)), if number + 1 < SERVICES { 2 } else { 1 });
    }
    state.apply((0..SERVICES).map(|number| health(&format!("s{number}"), "b3", true)), Duration::ZERO);
    assert_eq!(different(&state.snapshot(&StandInMacs)), 1);
}

#[test]
fn a_changed_egress_reaches_every_delivery_and_no_lookup_table() {
    let mut state = ForwardingState::offline(two_services());
    let before = state.snapshot(&NoEgress);
    state.apply([StateChange::Egress], Duration::ZERO);
    let after = state.snapshot(&StandInMacs);
    for service in ["one", "two"] {
        let backend = handle(&state, service);
        let next_hop = |snapshot: &Snapshot| snapshot.backend(backend).unwrap().delivery.egress().next_hop;
        assert_eq!(next_hop(&before), None);
        assert!(next_hop(&after).is_some());
    }
    for (before, after) in before.services.iter().zip(&after.services) {
        assert!(Arc::ptr_eq(&before.eligible, &after.eligible));
    }
}

/// An egress lookup that knows no next hop yet.
struct NoEgress;

impl EgressLookup for NoEgress {
    fn egress(&self, network: NetworkId, destination: Address) -> guideway_dataplane::egress::Egress {
        guideway_dataplane::egress::Egress { next_hop: None, ..StandInMacs.egress(network, destination) }
    }
}

#[test]
fn a_set_of_changes_is_one_snapshot_and_unknown_names_spoil_none_of_the_others() {
    let mut state = ForwardingState::offline(two_services());
    state.snapshot(&StandInMacs);
    let (service, backend) = ("one".to_owned(), "a".to_owned());
    let drain = StateChange::OperatorDrain { service, backend, entries_end_at: None };
    let applied = state.apply([health("one", "z", false), drain, health("two", "b", false)], Duration::ZERO);
    assert_eq!(applied.unknown, [UnknownName::Backend("one".to_owned(), "z".to_owned())]);
    let snapshot = state.snapshot(&StandInMacs);
    assert_eq!(snapshot.generation, 2);
    assert!(snapshot.services[0].eligible.table.is_empty(), "the drained backend was the only one");
    assert!(!state.services().get("two").unwrap().backends().next().unwrap().healthy);
}

#[test]
fn a_reported_weight_yields_to_that_of_an_operator() {
    let mut state = ForwardingState::offline(two_services());
    let names = || ("one".to_owned(), "a".to_owned());
    let weight =
        |state: &ForwardingState| state.services().get("one").unwrap().backends().next().unwrap().weight;
    let (service, backend) = names();
    state.apply([StateChange::OperatorWeight { service, backend, weight: 3 }], Duration::ZERO);
    let (service, backend) = names();
    state.apply([StateChange::ReportedWeight { service, backend, weight: 7 }], Duration::ZERO);
    assert_eq!(weight(&state), 3);
}

/// A backend that has drained gives its handle back, and no snapshot has it any more.
#[test]
fn an_expired_backend_leaves_the_next_snapshot() {
    let group = |name: &str, host: u8| {
        format!("endpoints = [{{ name = \"{name}\", ip_address = \"10.1.0.{host}\" }}]")
    };
    let mut state = ForwardingState::offline(config("", &group("a", 1)));
    let draining = handle(&state, "svc");
    let after = config("", &group("b", 2));
    state.apply([StateChange::Config(Box::new(after))], Duration::from_secs(1));
    assert!(state.snapshot(&StandInMacs).backend(draining).is_some());
    assert!(!state.expire(Duration::from_secs(30)));
    assert!(state.expire(Duration::from_secs(31)));
    assert!(state.snapshot(&StandInMacs).backend(draining).is_none());
}

/// Entries of a drained backend end at the operator's time, and stay void when it is undrained.
#[test]
fn a_drain_with_a_deadline_ends_entries_for_good() {
    let mut state = ForwardingState::offline(two_services());
    let backend = handle(&state, "one");
    let names = || ("one".to_owned(), "a".to_owned());
    let drain = |state: &mut ForwardingState, deadline: Option<u64>| {
        let (service, backend) = names();
        let entries_end_at = deadline.map(Duration::from_secs);
        let change = StateChange::OperatorDrain { service, backend, entries_end_at };
        state.apply([change], Duration::ZERO).all_known().unwrap();
    };
    let undrain = |state: &mut ForwardingState, now: u64| {
        let (service, backend) = names();
        let change = StateChange::OperatorUndrain { service, backend };
        state.apply([change], Duration::from_secs(now)).all_known().unwrap();
    };
    let before = state.services().handles().generations(backend);
    let snapshot = state.snapshot(&StandInMacs);
    let made = snapshot.backend(backend).unwrap().generation;
    let entry = |snapshot: &Snapshot, now| {
        let (persists, stage, seen) = (false, Stage::Established, Tick::from_secs(1));
        let entry = Entry { backend, generation: made, persists, stage, seen };
        snapshot.standing(&entry, Tick::from_secs(now))
    };
    // Without a deadline, entries hold; one that is undrained in time has its entries.
    drain(&mut state, None);
    assert_eq!(entry(&state.snapshot(&StandInMacs), 40), Standing::Live);
    drain(&mut state, Some(30));
    // A drain without a deadline leaves the earlier one.
    drain(&mut state, None);
    let drained = state.snapshot(&StandInMacs);
    assert_eq!([29, 30].map(|now| entry(&drained, now)), [Standing::Live, Standing::Void]);
    undrain(&mut state, 29);
    assert_eq!(state.services().handles().generations(backend), before);
    assert_eq!(entry(&state.snapshot(&StandInMacs), 40), Standing::Live);
    // After the deadline none of the entries comes back.
    drain(&mut state, Some(60));
    assert!(!state.expire(Duration::from_secs(59)));
    assert!(state.expire(Duration::from_secs(60)));
    assert!(state.is_stale());
    assert!(!state.expire(Duration::from_secs(61)), "they end once");
    undrain(&mut state, 62);
    assert_eq!(entry(&state.snapshot(&StandInMacs), 62), Standing::Void);
    let after = state.services().handles().generations(backend);
    // Nor where it is undrained before anybody looked.
    drain(&mut state, Some(70));
    undrain(&mut state, 70);
    assert_ne!(state.services().handles().generations(backend), after);
}

#[test]
fn a_weight_that_an_operator_takes_back_is_the_configured_one() {
    let mut state = ForwardingState::offline(two_services());
    let (service, backend) = ("one".to_owned(), "a".to_owned());
    let set = StateChange::OperatorWeight { service: service.clone(), backend: backend.clone(), weight: 3 };
    state.apply([set, StateChange::ConfiguredWeight { service, backend }], Duration::ZERO);
    let backend = state.services().get("one").unwrap().backends().next().unwrap();
    assert_eq!((backend.weight, backend.weight_source), (1, WeightSource::Configured));
}

#[test]
fn names_of_the_configuration_before_are_known_and_no_older_ones() {
    let named =
        |name: &str| config("", &format!("endpoints = [{{ name = \"{name}\", ip_address = \"10.1.0.1\" }}]"));
    let mut state = ForwardingState::offline(named("a"));
    let mut generations = vec![state.snapshot(&StandInMacs).generation];
    for name in ["b", "c"] {
        state.apply([StateChange::Config(Box::new(named(name)))], Duration::ZERO);
        generations.push(state.snapshot(&StandInMacs).generation);
    }
    let knows = |generation: &u64, name: &str| {
        let names = state.names_of(*generation);
        names.is_some_and(|names| names.backends().any(|(_, _, backend)| &**backend == name))
    };
    assert!(state.names_of(generations[0]).is_none());
    assert!(knows(&generations[1], "b"));
    assert!(knows(&generations[2], "c"));
}

/// A reload of a replay replaces the ports too; one of a process leaves their devices, and gives them their addresses.
#[test]
fn a_configuration_is_taken_over_whole_unless_it_starts_a_process() {
    let with_port = |address: &str| {
        let device = address.replace("192.0.2.", "net_null");
        let port =
            format!("[[port]]\nname = \"lan\"\ndevice = \"{device}\"\nip_addresses = [\"{address}/24\"]");
        config(&port, "endpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]")
    };
    for (starts_once, expected) in [(false, "net_null2"), (true, "net_null1")] {
        let setup = Setup { starts_once, ..Setup::OFFLINE };
        let mut state = ForwardingState::new(with_port("192.0.2.1"), setup, Duration::ZERO);
        state.apply([StateChange::Config(Box::new(with_port("192.0.2.2")))], Duration::ZERO);
        let port = &state.config().ports[0];
        assert_eq!(
            (port.device.to_string(), port.addresses[0].addr().to_string()),
            (expected.to_owned(), "192.0.2.2".to_owned())
        );
    }
}

/// Random changes, and after each set the snapshot beside one that is compiled from scratch.
#[test]
fn a_snapshot_of_what_has_changed_is_that_of_everything() {
    let endpoints = |names: &[&str]| {
        let endpoint =
            |name: &&str| format!("{{ name = \"{name}\", ip_address = \"10.1.0.{}\" }}", name.len());
        let listed: Vec<String> = names.iter().map(endpoint).collect();
        config("", &format!("endpoints = [{}]", listed.join(", ")))
    };
    let configs = [endpoints(&["a", "bb", "ccc"]), endpoints(&["a", "ccc"]), endpoints(&["bb"])];
    let mut dice = fastrand::Rng::with_seed(7);
    let mut state = ForwardingState::offline(configs[0].clone());
    state.snapshot(&StandInMacs);
    for second in 1..60 {
        let now = Duration::from_secs(second * 7);
        let changes: Vec<StateChange> = (0..dice.usize(1..4))
            .map(|_| {
                let (service, backend) =
                    ("svc".to_owned(), dice.choice(["a", "bb", "ccc"]).unwrap().to_owned());
                match dice.usize(0..12) {
                    0 => StateChange::Config(Box::new(dice.choice(&configs).unwrap().clone())),
                    1 => StateChange::Egress,
                    2 => StateChange::OperatorDrain {
                        service,
                        backend,
                        entries_end_at: dice.bool().then_some(now + Duration::from_secs(20)),
                    },
                    3 => StateChange::OperatorUndrain { service, backend },
                    4 => StateChange::OperatorWeight { service, backend, weight: dice.u16(0..9) },
                    5 => StateChange::ReportedWeight { service, backend, weight: dice.u16(0..9) },
                    _ => StateChange::Health { service, backend, healthy: dice.bool() },
                }
            })
            .collect();
        state.apply(changes, now);
        if dice.bool() {
            state.expire(now);
        }
        let changed = state.snapshot(&StandInMacs);
        state.compiler.set_config(&state.config);
        let whole = state.snapshot(&StandInMacs);
        assert_eq!(format!("{:?}", changed.backends), format!("{:?}", whole.backends), "at {now:?}");
        assert_eq!(format!("{:?}", changed.services), format!("{:?}", whole.services), "at {now:?}");
    }
}
