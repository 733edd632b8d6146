//! The workers' taps, and the one who listens to them: a capture, a watch of connections, or a trace of packets.
//!
//! Filters name services and backends, decisions number them, and a reload numbers anew. So the numbers that workers compare are
//! taken back before a reload and given again behind it; meanwhile packets of every service and backend are recorded, and
//! their names, by the generation that decided them, tell who is meant. Frames whose names are forgotten, as two reloads have come
//! before they were read, count as missed where the filter names a service or a backend.

use std::fmt;
use std::time::Duration;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::forwarding_rule::ServiceId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::publish::Feed;
use guideway_engine::tap::{FlowFilter, Numbers, TapOrder, TapReader, TapSwitch, TappedFrame};
use guideway_model::flow_text::FlowText;
use guideway_model::forwarding_state::ForwardingState;
use guideway_model::names::Names;

use crate::api::packet_filter::PacketFilter;
use crate::api::request::Refused;
use crate::api::view::ConnectionState;

/// The workers' taps.
#[derive(Debug)]
pub(in crate::run) struct Taps {
    /// The switch of all taps.
    pub(in crate::run) switch: TapSwitch,
    /// The tap of each worker.
    pub(in crate::run) readers: Vec<TapReader>,
}

/// Reader of the frames that workers record: a capture, or a watch.
pub(super) trait Listener: fmt::Debug {
    /// Largest number of frames that are read of each worker's tap in a turn; the others wait, or find no room.
    fn appetite(&self, workers: usize) -> usize;

    /// True if nobody reads any more what the listener writes, or all was written that was asked for.
    fn is_over(&self) -> bool;

    /// Takes in a frame; `names` are those of the snapshot that decided it.
    fn hear(&mut self, frame: &TappedFrame<'_>, names: Option<&Names>);

    /// Hands on what was heard in this turn.
    fn hand_on(&mut self, moment: &Moment<'_>);

    /// Ends; `missed` is the number of frames that workers had no room to record, or whose names were forgotten before they
    /// were read, since the listener began.
    fn end(self: Box<Self>, missed: u64);
}

/// State of connections, which a listener asks for: of a flow in a network.
pub(super) type StateOf<'a> = dyn Fn(&FlowText, Option<&str>) -> Option<ConnectionState> + 'a;

/// The end of a turn.
pub(super) struct Moment<'a> {
    pub(super) now: Duration,
    /// Frames that workers had no room to record, or whose names were forgotten, since the listener began.
    pub(super) missed: u64,
    pub(super) state_of: &'a StateOf<'a>,
    /// State of now.
    pub(super) state: &'a ForwardingState,
    /// Snapshots of that state.
    pub(super) feed: &'a Feed<Snapshot>,
}

/// The taps, and the one listener that there may be.
#[derive(Debug)]
pub(super) struct Listening {
    taps: Taps,
    running: Option<Running>,
}

/// A listener, and the frames that it is to get.
#[derive(Debug)]
struct Running {
    order: TapOrder,
    filter: PacketFilter,
    listener: Box<dyn Listener>,
    /// Frames that the workers' taps had missed before it began.
    missed_before: u64,
    /// Frames that were recorded, and of which nobody knows any more if they were wanted.
    nameless: u64,
}

impl Listening {
    pub(super) fn new(taps: Taps) -> Self {
        Self { taps, running: None }
    }

    /// Checks that nobody listens, and that there is what the filter names.
    ///
    /// # Errors
    /// [`Refused::CaptureRunning`]; [`Refused::UnknownAmong`] or [`Refused::AmbiguousBackend`] of the filter.
    pub(super) fn check(&self, filter: &PacketFilter, names: &Names) -> Result<(), Refused> {
        if self.running.as_ref().is_some_and(|running| !running.listener.is_over()) {
            return Err(Refused::CaptureRunning);
        }
        check_names(filter, names)
    }

    /// Begins to listen, in place of whoever is over; the filter is [checked](Self::check).
    pub(super) fn begin(
        &mut self,
        order: TapOrder,
        filter: PacketFilter,
        listener: Box<dyn Listener>,
        state: &ForwardingState,
    ) {
        self.end();
        let flows = FlowFilter { numbers: numbers(&filter, state), ..filter.flows() };
        let order = TapOrder { flows, ..order };
        self.taps.readers.iter_mut().for_each(TapReader::discard);
        self.taps.switch.set(order);
        let missed_before = self.taps.missed();
        self.running = Some(Running { order, filter, listener, missed_before, nameless: 0 });
    }

    /// Takes back the numbers of services and backends, before others are put in force.
    pub(super) fn forget_numbers(&mut self) {
        self.renumber(Numbers::default());
    }

    /// Gives the numbers of services and backends that are in force now.
    pub(super) fn take_numbers(&mut self, state: &ForwardingState) {
        if let Some(running) = &self.running {
            self.renumber(numbers(&running.filter, state));
        }
    }

    fn renumber(&mut self, numbers: Numbers) {
        if let Some(running) = &mut self.running {
            running.order.flows.numbers = numbers;
            self.taps.switch.set(running.order);
        }
    }

    /// Hands on what the workers have recorded, and ends whoever is over; `feed` has the snapshots of `state`.
    pub(super) fn drain(
        &mut self,
        now: Duration,
        state: &ForwardingState,
        feed: &Feed<Snapshot>,
        state_of: &StateOf<'_>,
    ) {
        let Some(running) = &mut self.running else { return };
        let Running { order, filter, listener, missed_before, nameless } = running;
        let most = listener.appetite(self.taps.readers.len());
        for tap in &mut self.taps.readers {
            // No more than is there now: a worker may record as fast as this reads.
            for _ in 0..tap.waiting().min(most) {
                let Some(frame) = tap.read() else { break };
                let names = state.names_of(frame.generation());
                if listener.is_over() || !order.wants(frame.flow(), frame.decision(), frame.generation()) {
                    continue;
                }
                if is_of_names(filter, &frame, names) {
                    listener.hear(&frame, names);
                } else if names.is_none() {
                    *nameless += 1;
                }
            }
        }
        let missed = self.taps.missed().saturating_sub(*missed_before) + *nameless;
        listener.hand_on(&Moment { now, missed, state_of, state, feed });
        if listener.is_over() {
            self.end();
        }
    }

    /// Ends whoever listens.
    pub(super) fn end(&mut self) {
        if let Some(Running { listener, missed_before, nameless, .. }) = self.running.take() {
            self.taps.switch.set(TapOrder::OFF);
            listener.end(self.taps.missed().saturating_sub(missed_before) + nameless);
        }
    }
}

impl Taps {
    /// Frames that the workers had no room to record, since their start.
    fn missed(&self) -> u64 {
        self.readers.iter().map(TapReader::missed).sum()
    }
}

/// Numbers of the filter's service and backend in the snapshots from now on. A name that nothing has any more has a number that
/// nothing has.
fn numbers(filter: &PacketFilter, state: &ForwardingState) -> Numbers {
    let names = state.names();
    let service = filter.service.as_ref().map(|wanted| {
        let index = names.service_names().position(|name| **name == **wanted);
        ServiceId(index.and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX))
    });
    let backend = filter.backend.is_some().then(|| {
        let mut found =
            names.backends().filter(|(_, service, backend)| filter.holds_names(Some(service), Some(backend)));
        match (found.next(), found.next()) {
            (Some((handle, ..)), None) => Some(handle),
            // A reload has brought a second one of the name: their names tell.
            (Some(_), Some(_)) => None,
            (None, _) => Some(BackendHandle(u32::MAX)),
        }
    });
    Numbers { service, backend: backend.flatten(), since: state.snapshot_generation() }
}

/// True if the names of a frame's service and backend agree with the filter.
fn is_of_names(filter: &PacketFilter, frame: &TappedFrame<'_>, names: Option<&Names>) -> bool {
    let decision = frame.decision();
    let service =
        names.and_then(|names| names.rule_and_service(decision.rule?.0)).map(|(_, service)| &**service);
    let backend = names.and_then(|names| names.backend(decision.backend?)).map(|backend| &**backend);
    filter.holds_names(service, backend)
}

/// Checks that there are the service and the backend of a filter, and that they are one.
fn check_names(filter: &PacketFilter, names: &Names) -> Result<(), Refused> {
    if let Some(wanted) = &filter.service
        && !names.service_names().any(|name| **name == **wanted)
    {
        let known = names.service_names().map(ToString::to_string).collect();
        return Err(Refused::UnknownAmong { kind: "service", name: wanted.clone(), known });
    }
    let Some(wanted) = &filter.backend else { return Ok(()) };
    let of_service = || {
        names
            .backends()
            .filter(|(_, service, _)| filter.service.as_deref().is_none_or(|name| ***service == *name))
    };
    let services: Vec<String> = of_service()
        .filter(|(.., name)| ***name == **wanted)
        .map(|(_, service, _)| service.to_string())
        .collect();
    match services.len() {
        0 => {
            let known = match &filter.service {
                Some(_) => of_service().map(|(.., name)| name.to_string()).collect(),
                None => of_service().map(|(_, service, name)| format!("{service}/{name}")).collect(),
            };
            Err(Refused::UnknownAmong { kind: "backend", name: wanted.clone(), known })
        }
        1 => Ok(()),
        _ => Err(Refused::AmbiguousBackend { backend: wanted.clone(), services }),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::forwarding_rule::RuleId;
    use guideway_dataplane::pipeline::Decision;
    use guideway_engine::mbuf::Mbuf;
    use guideway_engine::publish::Publisher;
    use guideway_engine::tap::TapFilter;
    use guideway_model::config::Config;
    use guideway_model::egress_lookup::StandInMacs;
    use guideway_model::forwarding_state::StateChange;

    use super::*;

    const CONFIG: &str = r#"
        forwarding_rule = [{ name = "web", ip_address = "192.0.2.9", ports = [80], backend_service = "web" }]
        backend_service = [{ name = "web", health_checks = ["alive"], backends = [{ group = "web" }] }]
        backend_group = [{ name = "web", endpoints = [{ name = "b", ip_address = "192.0.2.1" }] }]
        health_check = [{ name = "alive", type = "TCP" }]
    "#;

    fn config() -> Config {
        Config::parse("test", CONFIG).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Listener that counts.
    #[derive(Debug, Default, Clone)]
    struct Counter {
        heard: Rc<Cell<u64>>,
        missed: Rc<Cell<u64>>,
    }

    impl Listener for Counter {
        fn appetite(&self, _workers: usize) -> usize {
            8
        }

        fn is_over(&self) -> bool {
            false
        }

        fn hear(&mut self, _frame: &TappedFrame<'_>, _names: Option<&Names>) {
            self.heard.set(self.heard.get() + 1);
        }

        fn hand_on(&mut self, moment: &Moment<'_>) {
            self.missed.set(moment.missed);
        }

        fn end(self: Box<Self>, missed: u64) {
            assert_eq!(self.missed.get(), missed);
        }
    }

    /// Frames that a listener hears and misses, which a filter wants and one reads after so many reloads.
    fn heard_and_missed(filter: PacketFilter, reloads: usize) -> (u64, u64) {
        let mut state = ForwardingState::offline(config());
        let publisher = Publisher::new(state.snapshot(&StandInMacs));
        let switch = TapSwitch::new();
        let (mut tap, reader) = switch.tap(8);
        let mut listening = Listening::new(Taps { switch, readers: vec![reader] });
        let counter = Counter::default();
        listening.begin(TapFilter::ALL.into(), filter, Box::new(counter.clone()), &state);
        let mut frame = Mbuf::new();
        frame.fill(b"frame");
        let decision = Decision { rule: Some((RuleId(0), ServiceId(0))), ..Decision::PENDING };
        tap.take_in(std::slice::from_ref(&frame));
        tap.record(state.snapshot_generation(), PortId(0), 0, &[frame], &[decision]);
        for _ in 0..reloads {
            listening.forget_numbers();
            let applied = state.apply([StateChange::Config(Box::new(config()))], Duration::ZERO);
            assert!(applied.all_known().is_ok());
            state.snapshot(&StandInMacs);
            listening.take_numbers(&state);
        }
        listening.drain(Duration::ZERO, &state, &publisher.feed(), &|_, _| None);
        listening.end();
        (counter.heard.get(), counter.missed.get())
    }

    #[test]
    fn a_frame_whose_names_are_forgotten_counts_as_missed_where_names_are_wanted() {
        let of_web = PacketFilter { service: Some("web".to_owned()), ..PacketFilter::default() };
        assert_eq!(
            [0, 1, 2].map(|reloads| heard_and_missed(of_web.clone(), reloads)),
            [(1, 0), (1, 0), (0, 1)]
        );
        assert_eq!(heard_and_missed(PacketFilter::default(), 2), (1, 0), "whoever is meant");
    }
}
