//! The control thread of a live appliance, with a worker on queues in memory: what an operator asks, and what follows.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

mod backends_taken_out;
mod connections;
mod devices;
mod dns_server;
mod endpoints_dns;
mod endpoints_files;
mod networks;
mod networks_reloaded;
mod operator;
mod own_sources;
mod plans;
mod reloads;
mod stalls;
mod taps;
mod tunnels;
mod two_arms;
mod weights;

use std::thread;
use std::time::Duration;

use guideway::api::packet_filter::PacketFilter;
use guideway::api::request::{CaptureReason, Refused, Request};
use guideway::api::view::{self, ChangeKind, EventKind};
use guideway::run::appliance::{Appliance, Nic};
use guideway::run::assemble::Probing;
use guideway::run::worker::WorkerFailure;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::mbuf::Mbuf;
use guideway_model::config::Config;
use guideway_model::forwarding_state::{Setup, StateChange};
use operator::*;
use pcap_fixtures::packet::Packet;
use tokio::sync::mpsc;

#[test]
fn a_backend_gets_packets_once_its_neighbour_is_known() {
    let result = with_appliance("neighbour", |mut operator| async move {
        assert_eq!(operator.ask(|reply| Request::Status { reply }).await.unwrap().unresolved_neighbors, 1);
        operator.answer_arp().await;
        for src_port in 1_000..1_040 {
            operator.send(&to_vip(src_port));
        }
        let mut macs = std::collections::BTreeSet::new();
        for _ in 0..40 {
            macs.insert(operator.receive(|frame| frame[12..14] == [8, 0]).await[..6].to_vec());
        }
        assert_eq!(macs.len(), 2, "both backends have some");
        let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
        assert_eq!(stats.rules[0].offered.packets, 40);
        assert_eq!(stats.conntrack.entries, 40);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_drained_backend_gets_no_new_connections_and_keeps_those_that_it_has() {
    let result = with_appliance("drain", |mut operator| async move {
        operator.answer_arp().await;
        let mut on_b = Vec::new();
        for src_port in 1_000..1_040 {
            operator.send(&to_vip(src_port));
            if operator.receive(|frame| frame[12..14] == [8, 0]).await[5] == 0xb {
                on_b.push(src_port);
            }
        }
        let drained = operator.drain("b", None).await.unwrap();
        assert!(drained.operator_drained && !drained.eligible);
        for src_port in 2_000..2_040 {
            operator.send(&to_vip(src_port));
            assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xa, "{src_port}");
        }
        for src_port in on_b {
            operator.send(&Packet::between("192.0.2.50", "192.0.2.100").tcp(src_port, 80, 0x10));
            assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xb, "{src_port}");
        }
        let undrain = |reply| Request::BackendUndrain { service: "web".into(), backend: "b".into(), reply };
        assert!(operator.ask(undrain).await.unwrap().eligible);
        assert!(matches!(operator.drain("z", None).await, Err(Refused::UnknownName(_))));
        let weigh = |reply| Request::BackendSetWeight {
            service: "web".into(),
            backend: "a".into(),
            weight: 3,
            reply,
        };
        assert!(matches!(operator.ask(weigh).await, Err(Refused::ServiceNotWeighted(_))));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn draining_the_last_eligible_backend_warns_and_undraining_takes_it_back() {
    let failover = CONFIG.replace(
        "backends = [{ group = \"web\" }]",
        "backends = [{ group = \"web\" }, { group = \"spare\", failover = true }]",
    ) + "[[backend_group]]\nname = \"spare\"\n\
         endpoints = [{ name = \"s\", ip_address = \"192.0.2.13\" }]\n";
    let result = with_watch("nobody", &failover, |operator| async move {
        // The spare one has never been healthy; of the primaries, one is.
        operator.report("b", Err("no answer")).await;
        operator.report("b", Err("no answer")).await;
        operator.report("s", Err("no answer")).await;
        operator.report("s", Err("no answer")).await;
        operator.report("a", Ok(None)).await;
        operator.report("a", Ok(None)).await;
        operator.backend_when("a", |backend| backend.share > 0.99).await;
        let drain = async |backend: &str| operator.drain(backend, None).await.unwrap();
        assert_eq!(drain("a").await.warning, None, "the other one serves, as a last resort");
        let warning = drain("b").await.warning.expect("nobody is left");
        assert!(warning.starts_with("nobody is eligible in service `web`"), "{warning}");
        let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
        assert_eq!((status.services[0].eligible, status.services[0].operator_drained), (0, 2));
        let latest = operator.latest_event().await;
        assert_eq!(latest, "the operator drains it; nobody is eligible in its service now");
        let undrain = |reply| Request::BackendUndrain { service: "web".into(), backend: "b".into(), reply };
        assert_eq!(operator.ask(undrain).await.unwrap().warning, None);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_right_file_is_taken_over_whole_and_a_wrong_one_not_at_all() {
    let result = with_appliance("reload", |operator| async move {
        std::fs::write(&operator.config_path, CONFIG.replace("ports = [80]", "ports = [80, 443")).unwrap();
        let refused = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await;
        assert!(matches!(refused, Err(Refused::Config(_))));
        let with_c = CONFIG.replace(
            "name = \"b\", ip_address = \"192.0.2.12\"",
            "name = \"c\", ip_address = \"192.0.2.13\"",
        );
        std::fs::write(&operator.config_path, with_c.replace("10_000", "20_000")).unwrap();
        let reload = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert_eq!(reload.configuration_generation, 2);
        let changes: Vec<_> =
            reload.changes.iter().map(|change| (change.change, change.text.as_str())).collect();
        assert_eq!(
            changes,
            [
                (ChangeKind::NeedsRestart, "[conntrack]: takes effect at the next start"),
                (ChangeKind::Removed, "backend web/b: drains for 60 s"),
                (ChangeKind::Added, "backend web/c: 192.0.2.13"),
            ]
        );
        assert!(operator.backend("b").await.draining);
        let idle = "[[backend_service]]\nname = \"idle\"\nhealth_checks = [\"alive\"]\n\
                    backends = [{ group = \"idle\" }]\n[[backend_group]]\nname = \"idle\"\nendpoints = []\n";
        // The machine may give warnings of its own.
        let warning = "service `idle` has no backend, so that new connections to it are dropped: add endpoints to its groups";
        assert!(!reload.warnings.iter().any(|one| one == warning));
        std::fs::write(&operator.config_path, format!("{CONFIG}\n{idle}")).unwrap();
        let reload = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert!(reload.warnings.iter().any(|one| one == warning), "{:?}", reload.warnings);
        // As good as endless, and it takes no room on the disk.
        std::fs::File::create(&operator.config_path).unwrap().set_len(1 << 40).unwrap();
        let refused = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await;
        let Err(Refused::Config(errors)) = refused else { panic!("{refused:?}") };
        assert!(errors.errors()[0].message.starts_with("a file of more than "), "{errors}");
        std::fs::remove_file(&operator.config_path).unwrap();
        let refused = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await;
        assert!(matches!(refused, Err(Refused::ConfigUnreadable { .. })));
        std::fs::write(&operator.config_path, "").unwrap();
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_capture_holds_what_was_asked_for_with_the_verdict_in_words() {
    let result = with_appliance("capture", |mut operator| async move {
        let (blocks, mut received) = mpsc::channel(64);
        let reasons = vec![
            CaptureReason::Drop(DropReason::TtlExpired),
            CaptureReason::Pass(PassReason::NoForwardingRule),
        ];
        let capture = |reply| Request::Capture {
            reasons,
            filter: PacketFilter::default(),
            copies: None,
            packets: Some(2),
            blocks,
            reply,
        };
        operator.ask(capture).await.unwrap();
        operator.send(&to_vip(1_000));
        operator.send(&to_vip(1_001).ttl(1));
        operator.send(&Packet::between("192.0.2.50", "192.0.2.101").tcp(1, 81, 0x02));
        let mut bytes = Vec::new();
        while let Some(block) = received.recv().await {
            bytes.extend_from_slice(&block);
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("drop ttl_expired forwarding_rule=web backend_service=web"), "{text}");
        assert!(text.contains("pass no_forwarding_rule"), "{text}");
        assert!(!text.contains("forward "), "{text}");
        let mut reader = guideway_engine::capture::CaptureReader::new(&bytes[..]).unwrap();
        let mut packets = 0;
        while reader.next_record().unwrap().is_some() {
            packets += 1;
        }
        assert_eq!(packets, 2);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

/// Packets of a capture, and how many it says to lack.
fn packets_and_missing(capture: &[u8]) -> (u64, u64) {
    let number = |at: usize| u32::from_le_bytes(*capture[at..].first_chunk().unwrap());
    let (mut at, mut packets, mut missing) = (0, 0, 0);
    while at < capture.len() {
        match number(at) {
            6 => packets += 1,
            5 => missing = u64::from_le_bytes(*capture[at + 24..].first_chunk().unwrap()),
            _ => {}
        }
        at += number(at + 4) as usize;
    }
    (packets, missing)
}

#[test]
fn a_capture_tells_how_many_packets_it_lacks() {
    let result = with_appliance("missed", |mut operator| async move {
        // Room for the header, for one piece, and for the last one: all other packets are lost on their way.
        let (blocks, mut received) = mpsc::channel(3);
        let reasons = vec![CaptureReason::Drop(DropReason::TtlExpired)];
        let capture = |reply| Request::Capture {
            reasons,
            filter: PacketFilter::default(),
            copies: None,
            packets: None,
            blocks,
            reply,
        };
        operator.ask(capture).await.unwrap();
        let mut sent = 0;
        for _ in 0..3 {
            for src_port in 0..200 {
                let mut mbuf = Mbuf::new();
                mbuf.fill(&to_vip(1_000 + src_port).ttl(1).macs([2, 0, 0, 0, 0, 9], OWN_MAC).build());
                assert!(operator.wire.send(mbuf).is_ok(), "the ring has room");
                sent += 1;
            }
            // The supervisor, on this thread, reads nothing meanwhile; a tap has 64 slots.
            thread::sleep(Duration::from_millis(50));
            for _ in 0..5_000 {
                let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
                if stats.total.dropped["ttl_expired"] == sent {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        received.close();
        let mut bytes = Vec::new();
        while let Some(block) = received.recv().await {
            bytes.extend_from_slice(&block);
        }
        let (packets, missing) = packets_and_missing(&bytes);
        assert!(packets > 0 && missing > 0, "{packets} packets, {missing} are missing");
        assert_eq!(packets + missing, sent);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_decision_is_named_as_it_was_when_it_was_made() {
    let renamed = |text: &str, name: &str| {
        let text = text.replace(
            "[[forwarding_rule]]\nname = \"web\"",
            &format!("[[forwarding_rule]]\nname = \"{name}\""),
        );
        Config::parse("guideway.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let setup = Setup { workers: 1, presumed_healthy: true, starts_once: true };
    let mut appliance = Appliance::new(renamed(CONFIG, "first"), &[nic], setup, Duration::ZERO);
    let first = appliance.state().snapshot_generation();
    let (service, backend) = ("web".to_owned(), "a".to_owned());
    let drain = StateChange::OperatorDrain { service, backend, entries_end_at: None };
    appliance.apply([drain], Duration::ZERO);
    appliance.poll(Duration::ZERO);
    let drained = appliance.state().snapshot_generation();
    let name = |appliance: &Appliance, generation| {
        let names = appliance.state().names_of(generation)?;
        Some(names.rule(guideway_dataplane::forwarding_rule::RuleId(0)).to_owned())
    };
    appliance.reload(renamed(CONFIG, "second"), Duration::ZERO);
    let second = appliance.state().snapshot_generation();
    let names = [first, drained, second].map(|generation| name(&appliance, generation));
    assert_eq!(names.map(Option::unwrap), ["first", "first", "second"]);
    appliance.reload(renamed(CONFIG, "third"), Duration::ZERO);
    let third = appliance.state().snapshot_generation();
    let names = [drained, second, third].map(|generation| name(&appliance, generation));
    assert_eq!(names, [None, Some("second".to_owned()), Some("third".to_owned())]);
}

#[test]
fn a_flow_is_found_in_the_conntrack_table_by_its_addresses() {
    let result = with_appliance("conntrack", |mut operator| async move {
        operator.answer_arp().await;
        operator.send(&to_vip(1_000));
        operator.receive(|frame| frame[12..14] == [8, 0]).await;
        let flow: guideway_model::flow_text::FlowText =
            "tcp 192.0.2.50:1000 > 192.0.2.100:80".parse().unwrap();
        let found = operator.ask(|reply| Request::ConntrackGet { flow, network: None, reply }).await.unwrap();
        let entry = found.entry.expect("the flow is tracked");
        assert!(entry.half_open);
        let list = |reply| Request::ConntrackList { service: None, backend: None, limit: 10, reply };
        let listed = operator.ask(list).await.unwrap();
        assert_eq!((listed.matching, &listed.entries[..]), (1, &[entry][..]));
        let other: guideway_model::flow_text::FlowText =
            "tcp 192.0.2.50:1001 > 192.0.2.100:80".parse().unwrap();
        assert_eq!(
            operator
                .ask(|reply| Request::ConntrackGet { flow: other, network: None, reply })
                .await
                .unwrap()
                .entry,
            None
        );
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn two_successes_turn_a_backend_healthy_and_failures_turn_it_back() {
    let result = with_watch("health", &CONFIG.replace("TCP", "HTTP"), |mut operator| async move {
        let new = operator.backend("a").await;
        assert_eq!(new.health, view::Health::Unhealthy);
        assert!(new.eligible, "while nobody is healthy, all serve");
        let check = new.health_check.expect("it is watched");
        assert_eq!((check.turns, check.weight_status), (0, None));
        assert_eq!((check.rules[0].healthy, check.rules[0].last_latency_ms), (false, None));

        // The first round is over when every check has had its chance.
        operator.report("b", Err("no answer")).await;
        operator.report("b", Err("no answer")).await;
        operator.report("a", Ok(None)).await;
        assert_eq!(operator.backend("a").await.health, view::Health::Unhealthy);
        operator.report("a", Ok(None)).await;
        let healthy = operator.backend_when("a", |backend| backend.share > 0.99).await;
        assert_eq!(healthy.health, view::Health::Healthy);
        let check = healthy.health_check.expect("it is watched");
        assert_eq!(check.turns, 1);
        assert_eq!((check.rules[0].passed, check.rules[0].failed), (2, 0));
        assert_eq!((check.rules[0].healthy, check.rules[0].last_latency_ms), (true, Some(1.5)));
        for src_port in 1_000..1_010 {
            operator.send(&to_vip(src_port));
            assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xa, "{src_port}");
        }

        operator.report("a", Err("status 503")).await;
        operator.report("a", Err("status 503")).await;
        let unhealthy = operator.backend_when("a", |backend| backend.share < 0.6).await;
        assert_eq!(unhealthy.health, view::Health::Unhealthy);
        let check = unhealthy.health_check.expect("it is watched");
        assert_eq!((check.turns, check.rules[0].failed), (2, 2));
        assert_eq!(check.rules[0].last_error.as_deref(), Some("status 503"));

        let list = operator.ask(|reply| Request::Events { limit: 9, after: None, reply }).await.unwrap();
        let mut list = list;
        list.events.retain(|event| event.kind != EventKind::ControlStalled);
        let told: Vec<_> = list.events.iter().map(|event| (event.kind, &*event.text)).collect();
        assert_eq!(
            told,
            [
                (EventKind::BackendHealthy, "it is healthy"),
                (EventKind::BackendUnhealthy, "it is unhealthy: status 503"),
            ]
        );
        let of = (list.events[1].service.as_deref(), list.events[1].backend.as_deref());
        assert_eq!(of, (Some("web"), Some("a")));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn the_time_from_a_deciding_probe_to_the_workers_is_measured_once_for_each_turn() {
    let result = with_watch("publish-latency", CONFIG, |operator| async move {
        let checks = async || {
            operator.ask(|reply| Request::Status { reply }).await.unwrap().health_checks.expect("it watches")
        };
        assert_eq!(checks().await.publications_measured, 0);
        operator.report("b", Err("no answer")).await;
        operator.report("b", Err("no answer")).await;
        operator.report("a", Ok(None)).await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(
                checks().await.publications_measured,
                0,
                "a probe that decides nothing is not measured"
            );
        }
        operator.report("a", Ok(None)).await;
        let mut measured = checks().await;
        for _ in 0..5_000 {
            if measured.publications_measured > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            measured = checks().await;
        }
        assert_eq!(measured.publications_measured, 1);
        assert!(measured.probe_to_packet.max_ms > 0.0);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn what_operators_do_is_among_the_events() {
    let result = with_appliance("events", |operator| async move {
        operator.drain("b", None).await.unwrap();
        let undrain = |reply| Request::BackendUndrain { service: "web".into(), backend: "b".into(), reply };
        operator.ask(undrain).await.unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        std::fs::write(&operator.config_path, "[").unwrap();
        assert!(operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.is_err());
        let b = Some("b".to_owned());
        assert_eq!(
            operator.events_after(0).await,
            [
                (EventKind::BackendDrained, b.clone()),
                (EventKind::BackendUndrained, b),
                (EventKind::Reloaded, None),
                (EventKind::ReloadRefused, None),
            ]
        );
        assert_eq!(operator.backend("b").await.health_check, None, "no checks run");
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn another_host_that_claims_an_address_is_an_event_once() {
    let result = with_appliance("conflict", |mut operator| async move {
        let mut claim = vec![0; 60];
        claim[..6].copy_from_slice(&[0xff; 6]);
        claim[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x66]);
        claim[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        claim[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 0x66]);
        claim[28..32].copy_from_slice(&[192, 0, 2, 100]);
        claim[38..42].copy_from_slice(&[192, 0, 2, 100]);
        for _ in 0..3 {
            let mut mbuf = Mbuf::new();
            mbuf.fill(&claim);
            assert!(operator.wire.send(mbuf).is_ok(), "the ring has room");
        }
        let heard =
            async || operator.ask(|reply| Request::VipList { reply }).await.unwrap().vips[0].conflicts;
        for _ in 0..5_000 {
            if heard().await == 3 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(heard().await, 3);
        assert_eq!(operator.events_after(0).await, [(EventKind::AddressConflict, None)]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_worker_that_fails_ends_the_appliance() {
    let failure = WorkerFailure { worker: 1, core: 3, message: "a bug".to_owned() };
    let reported = failure.clone();
    let result = with_appliance("failure", |operator| async move {
        operator.senders.failures.send(reported).unwrap();
    });
    assert_eq!(result, Err(failure.clone()));
    assert!(failure.to_string().starts_with("worker 1 on core 3 has failed (a bug): "));
}

#[test]
fn backends_that_turn_together_make_a_few_snapshots() {
    const BACKENDS: u32 = 500;
    let name = |number: u32| format!("b{number}");
    let endpoints: String = (0..BACKENDS)
        .map(|number| {
            let (high, low) = (number / 250, number % 250 + 1);
            format!(
                "{{ name = \"{}\", ip_address = \"192.0.{high}.{low}\", \
                 mac_address = \"02:00:00:00:{high:02x}:{low:02x}\" }},\n",
                name(number)
            )
        })
        .collect();
    let (head, _) = CONFIG.split_once("endpoints").unwrap();
    let config = format!("{head}endpoints = [\n{endpoints}]\n")
        .replace("192.0.2.1/24", "192.0.0.254/16")
        .replace("type = \"TCP\"", "type = \"TCP\"\nhealthy_threshold = 1\nunhealthy_threshold = 1");
    let result = with_watch("burst", &config, |operator| async move {
        let status = async || operator.ask(|reply| Request::Status { reply }).await.unwrap();
        let settled = async |healthy: u32| {
            for _ in 0..5_000 {
                let status = status().await;
                if status.services[0].healthy == healthy {
                    return status.snapshot_generation;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            panic!("{} are healthy", status().await.services[0].healthy);
        };
        for number in 0..BACKENDS {
            operator.report(&name(number), Ok(None)).await;
        }
        settled(BACKENDS).await;
        // What is decided now is in a snapshot after the next turn.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = status().await.snapshot_generation;
        for number in 0..BACKENDS {
            operator.report(&name(number), Err("no answer")).await;
        }
        settled(0).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let snapshots = status().await.snapshot_generation - before;
        assert!((1..=5).contains(&snapshots), "{snapshots} snapshots");
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn the_workers_that_are_left_forward_until_routers_have_heard_that_one_has_failed() {
    let directory = std::env::temp_dir().join(format!("guideway-supervisor-withdraw-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // A router that takes its time, for no longer than the test's own file is missing.
    let script = "case $1 in announce) ;; *) [ -e announced ] && touch hears && n=0 && \
                  while [ ! -e go ] && [ $n -lt 400 ]; do sleep 0.01; n=$((n+1)); done; esac; touch announced";
    let command = format!("cd {} && set -- $1 && {script}", directory.display());
    let announced = CONFIG.to_owned()
        + "[[announcement]]\nname = \"bgp\"\nforwarding_rules = [\"web\"]\npolicy = \"ALWAYS\"\n"
        + &format!("command = [\"/bin/sh\", \"-c\", {command:?}, \"sh\"]\n");
    let failure = WorkerFailure { worker: 1, core: 3, message: "a bug".to_owned() };
    let (reported, shared) = (failure.clone(), directory.clone());
    let result = run("withdraw", &announced, Probing::Off, None, |mut operator| async move {
        operator.answer_arp().await;
        let is_announced = async || {
            let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
            status.announcements.first().is_some_and(|route| route.announced == Some(true))
        };
        for _ in 0..5_000 {
            if is_announced().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(is_announced().await);
        operator.senders.failures.send(reported).unwrap();
        for _ in 0..5_000 {
            if shared.join("hears").exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        operator.send(&to_vip(1_000));
        operator.receive(|frame| frame[12..14] == [8, 0]).await;
        assert!(shared.join("hears").exists() && !shared.join("go").exists(), "the router has not heard yet");
        std::fs::write(shared.join("go"), "").unwrap();
    });
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(result, Err(failure));
}
