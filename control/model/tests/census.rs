//! Counts of backends' conntrack entries beside walks of the table: while workers open and close connections in a full table
//! and sweep it, each with a snapshot of its own age, and backends fail, drain, leave and come back.

use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, Standing, SweepCursor};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::WorkerTrafficCounters;
use guideway_engine::mbuf::Mbuf;
use guideway_model::config::Config;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, Setup, StateChange};
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, SYN};
use proptest::prelude::*;

const WORKERS: usize = 3;
const SERVICES: [&str; 2] = ["web", "clients"];
const BACKENDS: [&str; 4] = ["a", "b", "c", "d"];
/// Entries that the table is made for: fewer than there are connections.
const CAPACITY: usize = 40;
const CLIENTS: u8 = 90;

/// A service that tracks connections and one that tracks sessions, both before those of the backends whose bits are set.
fn config(bits: u8) -> Config {
    let endpoints: String = BACKENDS
        .iter()
        .enumerate()
        .filter(|(index, _)| bits >> index & 1 == 1)
        .map(|(index, name)| format!("{{ name = \"{name}\", ip_address = \"10.1.0.{}\" }}, ", index + 1))
        .collect();
    let service = |name: &str, host: u8, policy: &str| {
        format!(
            "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"203.0.113.{host}\"\n\
             load_balancing_scheme = \"INTERNAL\"\nip_protocol = \"L3_DEFAULT\"\nall_ports = true\n\
             backend_service = \"{name}\"\n[[backend_service]]\nname = \"{name}\"\nprotocol = \"UNSPECIFIED\"\n\
             load_balancing_scheme = \"INTERNAL\"\nhealth_checks = [\"hc\"]\nbackends = [{{ group = \"group\" }}]\n\
             connection_draining = {{ draining_timeout_sec = 30 }}\n{policy}\n"
        )
    };
    let sessions = "session_affinity = \"CLIENT_IP\"\n\
                    connection_tracking_policy = { tracking_mode = \"PER_SESSION\" }";
    let text = format!(
        "[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n{}{}[[backend_group]]\nname = \"group\"\n\
         endpoints = [{endpoints}]\n",
        service("web", 1, ""),
        service("clients", 2, sessions)
    );
    Config::parse("census", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[derive(Clone, Debug)]
enum Step {
    /// A worker has a packet of a client.
    Packet { worker: usize, service: u8, client: u8, flags: Option<u8> },
    /// A worker passes over the whole table.
    Sweep { worker: usize },
    /// A worker takes the newest snapshot.
    Adopt { worker: usize },
    /// A backend turns healthy or unhealthy.
    Health { service: usize, backend: usize, healthy: bool },
    /// An operator drains a backend, for ten seconds, or takes that back.
    Drain { service: usize, backend: usize, drained: bool },
    /// Another configuration is taken over, with the backends whose bits are set.
    Reload { bits: u8 },
    /// So many seconds go by.
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![Just(None), Just(Some(SYN)), Just(Some(ACK)), Just(Some(FIN | ACK))];
    let packet = (0..WORKERS, 1..3_u8, 0..CLIENTS, flags)
        .prop_map(|(worker, service, client, flags)| Step::Packet { worker, service, client, flags });
    let of_backend = || (0..SERVICES.len(), 0..BACKENDS.len(), any::<bool>());
    prop_oneof![
        120 => packet,
        4 => (0..WORKERS).prop_map(|worker| Step::Sweep { worker }),
        6 => (0..WORKERS).prop_map(|worker| Step::Adopt { worker }),
        3 => of_backend().prop_map(|(service, backend, healthy)| Step::Health { service, backend, healthy }),
        2 => of_backend().prop_map(|(service, backend, drained)| Step::Drain { service, backend, drained }),
        2 => (1..16_u8).prop_map(|bits| Step::Reload { bits }),
        2 => prop_oneof![Just(5), Just(40), Just(700)].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Workers before one table, and the forwarding state that makes their snapshots.
struct World {
    state: ForwardingState,
    table: ConntrackTable,
    newest: Arc<Snapshot>,
    workers: Vec<(Pipeline, Arc<Snapshot>)>,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let setup = Setup { workers: WORKERS, presumed_healthy: true, starts_once: true };
        let mut state = ForwardingState::new(config(0b1111), setup, Duration::ZERO);
        let newest = Arc::new(state.snapshot(&StandInMacs));
        let worker = |number| (Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), number), Arc::clone(&newest));
        let workers = (0..WORKERS).map(worker).collect();
        let table = ConntrackTable::with_capacity(CAPACITY).expect("a few kB");
        Self { state, table, newest, workers, now: Duration::from_secs(1) }
    }

    fn tick(&self) -> Tick {
        Tick(self.now.as_secs() as u32)
    }

    fn change(&mut self, change: StateChange) {
        // A backend that is not there can't change.
        drop(self.state.apply([change], self.now));
    }

    fn take(&mut self, step: &Step) {
        let tick = self.tick();
        match *step {
            Step::Packet { worker, service, client, flags } => {
                let packet =
                    Packet::between(&format!("198.51.100.{client}"), &format!("203.0.113.{service}"));
                let packet = match flags {
                    Some(flags) => packet.tcp(40_000, 443, flags),
                    None => packet.udp(40_000, 443),
                };
                let mut mbuf = Mbuf::new();
                mbuf.fill(&packet.build());
                let (pipeline, snapshot) = &mut self.workers[worker];
                let (frames, decisions) = (&mut [mbuf], &mut [Decision::PENDING]);
                pipeline.process(PortId(0), frames, decisions, tick, snapshot, &self.table);
            }
            Step::Sweep { worker } => {
                let (_, snapshot) = &self.workers[worker];
                let (cursor, buckets) = (&mut SweepCursor::default(), self.table.bucket_count());
                let judge = |entry: &_| snapshot.standing(entry, tick);
                let counted = snapshot.traffic_counters.worker(worker);
                self.table.sweep_counted(cursor, buckets, judge, counted.map(WorkerTrafficCounters::census));
            }
            Step::Adopt { worker } => self.workers[worker].1 = Arc::clone(&self.newest),
            Step::Health { service, backend, healthy } => {
                let (service, backend) = (SERVICES[service].to_owned(), BACKENDS[backend].to_owned());
                self.change(StateChange::Health { service, backend, healthy });
            }
            Step::Drain { service, backend, drained } => {
                let (service, backend) = (SERVICES[service].to_owned(), BACKENDS[backend].to_owned());
                self.change(if drained {
                    let entries_end_at = Some(self.now + Duration::from_secs(10));
                    StateChange::OperatorDrain { service, backend, entries_end_at }
                } else {
                    StateChange::OperatorUndrain { service, backend }
                });
            }
            Step::Reload { bits } => self.change(StateChange::Config(Box::new(config(bits)))),
            Step::Wait { seconds } => self.now += Duration::from_secs(seconds),
        }
        self.state.expire(self.now);
        if self.state.is_stale() {
            self.newest = Arc::new(self.state.snapshot(&StandInMacs));
        }
    }

    /// Compares the counts of all backends with a walk of the table; returns their sum.
    fn check(&self) -> u64 {
        let services = self.state.services();
        let mut sum = 0;
        for (service, backend) in
            services.iter().flat_map(|(name, state)| state.backends().map(move |backend| (name, backend)))
        {
            let in_force = services.handles().generations(backend.handle);
            let walked = self.table.entries().filter(|(_, entry)| {
                let generation = if entry.persists { in_force.persistent } else { in_force.ordinary };
                entry.backend == backend.handle && entry.generation == generation
            });
            let (walked, told) = (walked.count() as u64, self.state.tracked(backend.handle));
            assert_eq!(told, walked, "{service}/{}", backend.endpoint.name);
            sum += told;
        }
        let is_valid = |standing| standing != Standing::Void;
        let valid =
            self.table.entries().filter(|(_, entry)| is_valid(self.newest.standing(entry, self.tick())));
        assert!(sum >= valid.count() as u64, "every valid entry is some backend's");
        sum
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_what_a_walk_of_the_table_finds(steps in prop::collection::vec(step(), 400)) {
        let mut world = World::new();
        for (number, step) in steps.iter().enumerate() {
            world.take(step);
            // A walk of all with every packet would take most of the time.
            if number % 5 == 0 || !matches!(step, Step::Packet { .. }) {
                world.check();
            }
        }
        // No entry is left when all have been idle for too long and are swept.
        world.check();
        world.take(&Step::Wait { seconds: 1_000 });
        (0..WORKERS).for_each(|worker| world.take(&Step::Adopt { worker }));
        world.take(&Step::Sweep { worker: 0 });
        prop_assert_eq!(world.check(), 0);
        prop_assert_eq!(world.table.occupancy(), 0);
    }
}

/// A backend that has been removed keeps its connections and their count, until its draining ends.
#[test]
fn a_backend_that_leaves_keeps_its_count_until_its_entries_end() {
    let mut world = World::new();
    for client in 0..30 {
        world.take(&Step::Packet { worker: 0, service: 1, client, flags: None });
    }
    let count = |world: &World| {
        let service = world.state.services().get("web").expect("it is configured");
        let found = service.backends().find(|backend| backend.endpoint.name == "a");
        found.map(|backend| world.state.tracked(backend.handle))
    };
    let before = count(&world).expect("it is configured");
    assert!((1..30).contains(&before), "{before} of 30 connections");
    world.take(&Step::Reload { bits: 0b1110 });
    assert_eq!((count(&world), world.check()), (Some(before), 30));
    world.take(&Step::Wait { seconds: 40 });
    assert_eq!((count(&world), world.check()), (None, 30 - before));
    world.take(&Step::Reload { bits: 0b1111 });
    assert_eq!((count(&world), world.check()), (Some(0), 30 - before), "it comes back without them");
}
