//! Traces of random packets, compared with the decisions on them: each stage must lead to what was decided.

use std::collections::BTreeMap;

use guideway::offline::replay::TraceOrder;
use guideway_engine::tap::FlowFilter;
use guideway_model::trace::{EntryFound, PacketTrace};

use crate::reference::Decision;
use crate::{PACKETS, Scenario};

/// Number of scenarios.
const SCENARIOS: u64 = 20;

/// Checks that the stages of a trace lead to a decision.
///
/// # Errors
/// The first claim that does not hold.
fn judge(trace: &PacketTrace, decision: &Decision) -> Result<(), &'static str> {
    let same = |of_trace: Option<&String>, of_decision: &Option<String>| of_trace == of_decision.as_ref();
    let rule = trace.forwarding_rule.as_ref();
    let backend = trace.backend.as_ref().map(|backend| &backend.name);
    let (entry, selected) = (trace.entry.as_ref(), trace.selected.as_ref());
    for (holds, claim) in [
        (trace.verdict == decision.verdict, "the verdict is the decision's"),
        (same(rule.map(|rule| &rule.name), &decision.rule), "the rule is the decision's"),
        (same(rule.map(|rule| &rule.backend_service), &decision.service), "the service is the decision's"),
        (same(backend, &decision.backend), "the backend is the decision's"),
        (same(trace.tracking_result.as_ref(), &decision.tracking), "the way to it is the decision's"),
        (trace.notes.is_empty(), "nothing limits the trace"),
        (trace.backend.is_some() || trace.verdict != "forward", "a forwarded packet has a backend"),
        (trace.egress.is_some() == trace.backend.is_some(), "a packet with a backend has an egress"),
        (trace.delivery.is_some() == trace.backend.is_some(), "a packet with a backend has a delivery"),
        (trace.selection.is_some() == entry.is_some(), "a packet with a connection has a hash"),
    ] {
        if !holds {
            return Err(claim);
        }
    }
    if let Some(selection) = &trace.selection {
        let is_eligible = |name: &String| selection.eligible.contains(name);
        let in_subset = selection.subset.as_ref().is_none_or(|subset| {
            selected == subset.backends.get(subset.seat) && subset.backends.iter().all(is_eligible)
        });
        let chosen = selected.map_or(selection.eligible.is_empty(), is_eligible);
        if !chosen || !in_subset {
            return Err("the hash chooses an eligible backend");
        }
        if selection.eligible.len() + selection.left_out.len() != selection.configured {
            return Err("whoever is not eligible is left out");
        }
    }
    let Some(entry) = entry else {
        let follows = trace.later_fragment.as_deref() == Some("follows");
        let ends = trace.backend.is_none() || follows;
        return if ends { Ok(()) } else { Err("a backend without a connection is a first fragment's") };
    };
    let (expected, tracking) = match entry.found {
        EntryFound::Valid => (entry.backend.as_ref(), "hit"),
        EntryFound::NotTracked => (selected, "off"),
        _ if trace.quoted.is_some() => (selected, "off"),
        EntryFound::None | EntryFound::NotAsked | EntryFound::Void => (selected, "new"),
    };
    let is_so = decision.tracking.as_deref() == expected.map(|_| tracking);
    if backend == expected && is_so { Ok(()) } else { Err("a valid entry decides, and else the hash") }
}

#[test]
fn the_stages_of_a_trace_lead_to_what_was_decided() {
    let mut seen = BTreeMap::new();
    for number in 0..SCENARIOS {
        let scenario = Scenario::new(number);
        let workers = 1 + number as usize % 3;
        let (flows, packets) = (FlowFilter::default(), PACKETS as u64);
        let order = TraceOrder { flows, service: None, backend: None, packets };
        let (decisions, traces) = scenario.replayed(workers, Some(order));
        if number % 5 == 0 {
            assert!(decisions == scenario.decisions(workers), "scenario {number}: a trace changes nothing");
        }
        let traces = traces.expect("they were ordered");
        assert_eq!((traces.fitting, traces.packets.len()), (decisions.len() as u64, decisions.len()));
        for (trace, decision) in traces.packets.iter().zip(&decisions) {
            if let Err(claim) = judge(trace, decision) {
                panic!("scenario {number}: {claim}\n{trace:#?}\n{decision:?}");
            }
            let found = trace.entry.as_ref().map(|entry| format!("{:?}", entry.found));
            *seen.entry((found, trace.later_fragment.clone())).or_insert(0) += 1;
        }
    }
    for (entry, fragment) in [
        (None, None),
        (None, Some("follows")),
        (Some("Valid"), None),
        (Some("Void"), None),
        (Some("None"), None),
        (Some("NotAsked"), None),
        (Some("None"), Some("first_unseen")),
    ] {
        let kind = (entry.map(str::to_owned), fragment.map(str::to_owned));
        assert!(seen.get(&kind).is_some_and(|count| *count >= 20), "too little of {kind:?}: {seen:?}");
    }
}
