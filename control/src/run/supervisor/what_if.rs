//! Questions about a copy of the state: what a reload would change, where a packet would go, who has which slots.
//!
//! To parse a configuration, to make lookup tables and to walk the conntrack table takes a while, so a thread of its own does
//! it, one at a time: the control thread makes the copy, and goes on. The thread's answer is of the moment of the copy. It
//! reads no file: [`plan_reader`](super::plan_reader) has done so before.

use std::sync::{Arc, Weak};
use std::time::Duration;

use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::time::Tick;
use guideway_model::config::{Config, Sources};
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::explain::explain;
use guideway_model::flow_text::FlowText;
use guideway_model::forwarding_state::{ForwardingState, StateChange};
use guideway_model::plan::Planner;

use super::config_source::ConfigSource;
use crate::api::request::{BackendName, Refused, Reply};
use crate::api::view::{self, RingQuery};
use crate::run::machine::Machine;
use crate::run::warnings::warnings;
use crate::run::worker::Shared;

/// Entries that are counted between two looks if somebody still waits.
const CHUNK: usize = 1 << 16;

/// Asker of questions about a copy of the state; one is answered at a time.
#[derive(Debug)]
pub(super) struct WhatIf {
    shared: Shared,
    /// Pass of the question that is being answered.
    answering: Weak<()>,
}

/// Copy of the state, and the configuration that is in force in it.
pub(super) struct Copied {
    state: ForwardingState,
    config_path: String,
    now: Duration,
}

impl Copied {
    pub(super) fn of(state: &ForwardingState, source: &ConfigSource, now: Duration) -> Self {
        Self { state: state.copied(), config_path: source.path().display().to_string(), now }
    }

    fn generation(&self) -> u64 {
        self.state.configuration_generation()
    }

    /// Marks backends as unhealthy.
    fn mark(&mut self, unhealthy: Vec<BackendName>) -> Result<(), Refused> {
        let changes = unhealthy.into_iter().map(|BackendName { service, backend }| StateChange::Health {
            service,
            backend,
            healthy: false,
        });
        self.state.apply(changes, self.now).all_known()?;
        Ok(())
    }
}

impl WhatIf {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, answering: Weak::new() }
    }

    /// True while a question is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.answering.strong_count() > 0
    }

    /// Says what a reload of a configuration would change that is brought along.
    pub(super) fn plan(
        &mut self,
        copied: Copied,
        mut sources: Sources,
        source: &ConfigSource,
        reply: Reply<view::Plan>,
    ) {
        // Endpoints by DNS are those that the appliance has.
        source.sources().into_iter().for_each(|known| sources.bring_answers(known));
        self.answer_plan(copied, reply, move || {
            let config = Config::parse_to_run(&sources).map_err(Refused::Config)?;
            Ok((sources.main.name, config))
        });
    }

    /// Says what a reload of a configuration would change that was read from the appliance's own file.
    pub(super) fn plan_of(
        &mut self,
        copied: Copied,
        config: Config,
        source: &ConfigSource,
        reply: Reply<view::Plan>,
    ) {
        let name = source.path().display().to_string();
        self.answer_plan(copied, reply, move || Ok((name, config)));
    }

    fn answer_plan(
        &mut self,
        copied: Copied,
        reply: Reply<view::Plan>,
        config: impl FnOnce() -> Result<(String, Config), Refused> + Send + 'static,
    ) {
        let (table, tick) = (Arc::clone(&self.shared.table), self.shared.clock.now());
        self.answer(reply, move |is_awaited| {
            Some(config().and_then(|(name, config)| made(copied, config, &name, &table, tick, is_awaited)))
        });
    }

    /// Explains where a flow's first packet would go.
    pub(super) fn explain(
        &mut self,
        mut copied: Copied,
        flow: FlowText,
        network: Option<String>,
        unhealthy: Vec<BackendName>,
        reply: Reply<view::Explained>,
    ) {
        self.answer(reply, move |_| {
            let explained = copied.mark(unhealthy).and_then(|()| {
                let network = copied.state.network_named(network.as_deref())?;
                let snapshot = copied.state.snapshot(&StandInMacs);
                let explanation = explain(flow, network, &copied.state, &snapshot);
                let configuration_generation = copied.generation();
                Ok(view::Explained { configuration_generation, config_path: copied.config_path, explanation })
            });
            Some(explained)
        });
    }

    /// Shows lookup tables.
    pub(super) fn ring(
        &mut self,
        mut copied: Copied,
        query: RingQuery,
        unhealthy: Vec<BackendName>,
        reply: Reply<view::RingList>,
    ) {
        self.answer(reply, move |_| {
            let shown = copied.mark(unhealthy).and_then(|()| {
                let snapshot = copied.state.snapshot(&StandInMacs);
                let rings = query.rings(&copied.state, &snapshot)?;
                let configuration_generation = copied.generation();
                Ok(view::RingList { configuration_generation, config_path: copied.config_path, rings })
            });
            Some(shown)
        });
    }

    /// Has a thread find the answer, unless another one is at it.
    fn answer<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        find: impl FnOnce(&dyn Fn() -> bool) -> Option<Result<T, Refused>> + Send + 'static,
    ) {
        if self.is_busy() {
            return drop(reply.send(Err(Refused::WhatIfRunning)));
        }
        let pass = Arc::new(());
        self.answering = Arc::downgrade(&pass);
        let find = move || {
            let found = find(&|| !reply.is_closed());
            // Dropped before the answer is sent, so that its receiver may ask again at once.
            drop(pass);
            if let Some(found) = found {
                drop(reply.send(found));
            }
        };
        // A thread that cannot be had drops the reply, and whoever asked is told that there is none.
        if let Err(error) = std::thread::Builder::new().name("what-if".to_owned()).spawn(find) {
            tracing::error!("cannot answer a question about the state: {error}");
        }
    }
}

/// Makes the plan; entries that nobody waits for any more are not counted.
fn made(
    copied: Copied,
    config: Config,
    name: &str,
    table: &ConntrackTable,
    now: Tick,
    is_awaited: &dyn Fn() -> bool,
) -> Result<view::Plan, Refused> {
    let warnings = warnings(&config, &Machine::look()).iter().map(ToString::to_string).collect();
    let generation = copied.generation();
    let mut planner = Planner::new(copied.state, config, copied.now);
    planner.begin_count();
    let mut entries = table.entries();
    while is_awaited() {
        let mut chunk = entries.by_ref().take(CHUNK).peekable();
        if chunk.peek().is_none() {
            break;
        }
        chunk.for_each(|(_, entry)| planner.count(&entry, now));
    }
    let plan = view::Plan::new(planner.plan(), &copied.config_path, name, warnings);
    Ok(view::Plan { configuration_generation: Some(generation), ..plan })
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn one_question_is_answered_at_a_time() {
        let config = Config::parse("test", "[conntrack]\nmax_entries = 10_000\n").expect("it is right");
        let shared = Shared::new(&config, [1, 2, 3, 4], &[]).expect("240 kB");
        let mut what_if = WhatIf::new(shared);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (reply, first) = oneshot::channel();
        what_if.answer(reply, move |_| {
            let _ = wait.recv();
            Some(Ok(1))
        });
        let (reply, second) = oneshot::channel::<Result<u8, Refused>>();
        what_if.answer(reply, |_| Some(Ok(2)));
        assert!(matches!(second.blocking_recv(), Ok(Err(Refused::WhatIfRunning))));
        drop(go);
        assert!(matches!(first.blocking_recv(), Ok(Ok(1))));
        let (reply, third) = oneshot::channel();
        what_if.answer(reply, |_| Some(Ok(3)));
        assert!(matches!(third.blocking_recv(), Ok(Ok(3))));
    }
}
