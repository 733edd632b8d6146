//! Plans of reloads: slots that move, and fates of connections.

use guideway_dataplane::conntrack::Stage;

use super::*;

/// Configuration of a rule before `svc`, whose settings and endpoints are given.
fn config(rule: &str, service: &str, endpoints: &[(&str, u8)]) -> Config {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(name, last)| format!("{{ name = \"{name}\", ip_address = \"192.0.2.{last}\" }}"))
        .collect();
    let text = format!(
        "[network]\nmac_address = \"02:00:00:00:00:01\"\n{rule}\n\
         [[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n\
         [[backend_service]]\nname = \"svc\"\nhealth_checks = [\"hc\"]\nbackends = [{{ group = \"g\" }}]\n{service}\n\
         [[backend_group]]\nname = \"g\"\nendpoints = [{}]\n",
        endpoints.join(", ")
    );
    Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

const RULE: &str = "[[forwarding_rule]]\nname = \"rule\"\nip_address = \"203.0.113.10\"\nports = [80, 443]\n\
                    backend_service = \"svc\"";
const BOTH: [(&str, u8); 2] = [("a", 11), ("b", 12)];

/// Plan of a reload, with 3 connections on `a` and 5 on `b`.
fn counted(old: Config, new: Config) -> Plan {
    let mut before = ForwardingState::offline(old);
    let snapshot = before.snapshot(&StandInMacs);
    let entries: Vec<Entry> = before
        .services()
        .get("svc")
        .expect("it is configured")
        .backends()
        .zip([3, 5])
        .flat_map(|(backend, count)| {
            let generation = snapshot.backend(backend.handle).expect("it is compiled").generation;
            let (persists, stage, seen) = (false, Stage::Established, Tick(1));
            vec![Entry { backend: backend.handle, generation, persists, stage, seen }; count]
        })
        .collect();
    let mut planner = Planner::new(before.copied(), new, Duration::from_secs(1));
    planner.begin_count();
    entries.iter().for_each(|entry| planner.count(entry, Tick(2)));
    planner.plan()
}

fn fates(plan: &Plan) -> Vec<(&str, FateKind, Option<u64>)> {
    plan.fates.iter().map(|fate| (&*fate.backend, fate.kind, fate.connections)).collect()
}

#[test]
fn a_reload_of_the_same_file_is_nothing() {
    let same = || config(RULE, "", &BOTH);
    let plan = counted(same(), same());
    assert!(plan.is_nothing() && !plan.puts_connections_at_risk(), "{plan:?}");
    let service = &plan.services[0];
    assert_eq!((service.slots_moved, service.tracked, service.eligible_after), (Some(0), Some(8), Some(2)));
}

#[test]
fn removed_backends_drain_or_end_by_the_timeout_of_their_service() {
    let old = || config(RULE, "connection_draining = { draining_timeout_sec = 60 }", &BOTH);
    let plan =
        counted(old(), config(RULE, "connection_draining = { draining_timeout_sec = 60 }", &BOTH[..1]));
    assert_eq!(fates(&plan), [("b", FateKind::Drain, Some(5))]);
    assert!(!plan.is_nothing() && !plan.puts_connections_at_risk());
    // Slots of the backend that goes, and no others.
    let service = &plan.services[0];
    assert!((service.share_moved - 0.5).abs() < 0.001, "{service:?}");
    assert_eq!(service.slots_moved, Some((service.share_moved * service.slots as f64).round() as usize));
    let plan = counted(old(), config(RULE, "connection_draining = { draining_timeout_sec = 0 }", &BOTH[..1]));
    assert_eq!(fates(&plan), [("b", FateKind::End, Some(5))]);
    assert!(plan.puts_connections_at_risk());
}

#[test]
fn a_new_backend_counts_as_healthy_and_takes_slots_from_all() {
    let plan = counted(config(RULE, "", &BOTH), config(RULE, "", &[("a", 11), ("b", 12), ("c", 13)]));
    let service = &plan.services[0];
    assert_eq!((service.eligible_before, service.eligible_after), (Some(2), Some(3)));
    assert!((0.33..0.40).contains(&service.share_moved), "{service:?}");
    assert_eq!(fates(&plan), [], "tracked connections stay");
}

#[test]
fn another_address_other_fields_and_a_shorter_timeout_move_connections() {
    let old = || config(RULE, "", &BOTH);
    let moved = counted(old(), config(RULE, "", &[("a", 21), ("b", 12)]));
    assert_eq!(fates(&moved), [("a", FateKind::Move, Some(3))]);
    assert_eq!(moved.fates[0].cause, "the backend's address changes from 192.0.2.11 to 192.0.2.21");
    let by_client =
        "session_affinity = \"CLIENT_IP\"\nconnection_tracking_policy = { tracking_mode = \"PER_SESSION\" }";
    let moved = counted(old(), config(RULE, by_client, &BOTH));
    assert_eq!(fates(&moved), [("a", FateKind::Move, Some(3)), ("b", FateKind::Move, Some(5))]);
    // Of another hash, half is where it was by chance.
    let service = &moved.services[0];
    assert!(service.slots_moved.is_none() && (service.share_moved - 0.5).abs() < 0.001, "{service:?}");
}

#[test]
fn a_rule_that_takes_fewer_packets_may_end_connections_and_none_ends_all() {
    let old = || config(RULE, "", &BOTH);
    let fewer = RULE.replace("[80, 443]", "[443]");
    let plan = counted(old(), config(&fewer, "", &BOTH));
    assert_eq!(fates(&plan), [("a", FateKind::MayEnd, Some(3)), ("b", FateKind::MayEnd, Some(5))]);
    assert_eq!(plan.fates[0].cause, "gone, or takes fewer packets: rule");
    assert!(plan.puts_connections_at_risk());
    let more = RULE.replace("[80, 443]", "[80, 443, 8080]");
    assert_eq!(fates(&counted(old(), config(&more, "", &BOTH))), []);
    let plan = counted(old(), config("", "", &BOTH));
    assert_eq!(fates(&plan), [("a", FateKind::End, Some(3)), ("b", FateKind::End, Some(5))]);
    assert_eq!(plan.removals.expect("every rule").to_string(), "every forwarding rule (1)");
}

#[test]
fn two_files_say_what_would_become_of_connections_without_a_number() {
    let old = config(RULE, "connection_draining = { draining_timeout_sec = 60 }", &BOTH);
    let new = config(RULE, "connection_draining = { draining_timeout_sec = 60 }", &BOTH[..1]);
    let plan = Planner::new(ForwardingState::offline(old), new, Duration::ZERO).plan();
    assert_eq!(fates(&plan), [("b", FateKind::Drain, None)]);
    assert_eq!(plan.services[0].tracked, None);
}

#[test]
fn health_weights_and_drains_are_those_of_the_running_state() {
    let mut before = ForwardingState::offline(config(RULE, "", &BOTH));
    let drain = StateChange::OperatorDrain {
        service: "svc".to_owned(),
        backend: "b".to_owned(),
        entries_end_at: None,
    };
    assert!(before.apply([drain], Duration::ZERO).unknown.is_empty());
    let plan = Planner::new(before.copied(), config(RULE, "", &BOTH[..1]), Duration::ZERO).plan();
    let service = &plan.services[0];
    assert_eq!((service.eligible_before, service.slots_moved), (Some(1), Some(0)), "it was drained already");
}

#[test]
fn settings_that_wait_for_a_restart_are_told_and_change_nothing_now() {
    let old = config(RULE, "", &BOTH);
    let conntrack = crate::config::Conntrack { max_entries: 12_345, ..old.conntrack };
    let new = Config { conntrack, ..old.clone() };
    let setup = crate::forwarding_state::Setup { workers: 0, presumed_healthy: true, starts_once: true };
    let before = ForwardingState::new(old, setup, Duration::ZERO);
    assert!(before.is_in_force(&new));
    let plan = Planner::new(before.copied(), new, Duration::ZERO).plan();
    assert_eq!(
        plan.changes.iter().map(Change::to_string).collect::<Vec<_>>(),
        ["! [conntrack]: takes effect at the next start"]
    );
}

#[test]
fn what_is_admitted_to_the_conntrack_table_changes_with_a_reload() {
    let old = config(RULE, "", &BOTH);
    let admitting = "[conntrack]\nmax_entries = 12_345\nprotect_established = true\nnew_connections_per_sec = 9\n\
                     new_connections_per_source_per_sec = 7\n";
    let new = config(&format!("{admitting}{RULE}"), "", &BOTH);
    let setup = crate::forwarding_state::Setup { workers: 0, presumed_healthy: true, starts_once: true };
    let mut state = ForwardingState::new(old, setup, Duration::ZERO);
    let plan = Planner::new(state.copied(), new.clone(), Duration::ZERO).plan();
    let changes: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
    let [restart, admission] =
        ["! [conntrack]: takes effect at the next start", "~ conntrack: admission of new connections"];
    assert_eq!(changes, [restart, admission]);
    assert!(!state.is_in_force(&new));
    state.apply([StateChange::Config(Box::new(new.clone()))], Duration::ZERO);
    assert_eq!(state.config().conntrack.max_entries, 16_777_216);
    assert_eq!(state.config().conntrack.admission, new.conntrack.admission);
    assert!(state.is_in_force(&new));
}

/// To compare each new rule with all others and those with all old ones would take hours.
#[test]
fn thousands_of_rules_are_planned_in_passing() {
    let rules = |last: u16| -> Config {
        let rule = |number: u16| {
            let ([high, low], service) =
                (number.to_be_bytes(), if number.is_multiple_of(2) { "svc" } else { "other" });
            format!(
                "[[forwarding_rule]]\nname = \"rule-{number}\"\nip_address = \"198.18.{high}.{low}\"\nports = [80]\n\
                 backend_service = \"{service}\"\n"
            )
        };
        let other = "[[backend_service]]\nname = \"other\"\nhealth_checks = [\"hc\"]\nbackends = [{ group = \"g\" }]\n";
        config(&(0..last).map(rule).chain([other.to_owned()]).collect::<String>(), "", &BOTH)
    };
    let plan = counted(rules(4_000), rules(4_001));
    assert_eq!(plan.changes.len(), 1);
}
