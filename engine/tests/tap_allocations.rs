//! No frame that a tap records, misses or leaves alone costs an allocation.

#![allow(unsafe_code)] // a global allocator is an unsafe trait; this one counts and hands on

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::verdict::{DropReason, Verdict};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::tap::{TapFilter, TapSwitch};

struct Counting;

thread_local! {
    /// This thread's: the test harness allocates on its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is `System`'s condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `System`, since `alloc` hands on; the rest is the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_frame_costs_an_allocation() {
    let mut switch = TapSwitch::new();
    let (mut worker, mut reader) = switch.tap(100);
    let frames: Vec<Mbuf> = (0..BURST)
        .map(|place| {
            let mut frame = Mbuf::new();
            frame.fill(&vec![7; place * 100]);
            frame
        })
        .collect();
    let mut decisions = [Decision::PENDING; BURST];
    for decision in decisions.iter_mut().step_by(2) {
        decision.verdict = Verdict::Drop(DropReason::TtlExpired);
    }
    let mut recorded = 0;
    let before = ALLOCATIONS.get();
    for filter in [TapFilter::NONE, TapFilter::DROP, TapFilter::ALL] {
        switch.set(filter);
        // 7 bursts are more than there are slots.
        for _ in 0..7 {
            worker.record(PortId(0), &frames, &decisions);
        }
        while reader.read().is_some() {
            recorded += 1;
        }
    }
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!((recorded, reader.missed()), (200, 12 + 124));
}
