//! No frame that a tap records, misses or leaves alone costs an allocation.

use allocation_counter::measure;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::verdict::{DropReason, Verdict};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::tap::{TapFilter, TapOrder, TapSwitch};

#[test]
fn no_frame_costs_an_allocation() {
    let mut switch = TapSwitch::new();
    let (mut worker, mut reader) = switch.tap(100);
    let frames: Vec<Mbuf> = (0..BURST)
        .map(|index| {
            let mut frame = Mbuf::new();
            frame.fill(&vec![7; index * 100]);
            frame
        })
        .collect();
    let mut decisions = [Decision::PENDING; BURST];
    for decision in decisions.iter_mut().step_by(2) {
        decision.verdict = Verdict::Drop(DropReason::TtlExpired);
    }
    let mut recorded = 0;
    let allocated = measure(|| {
        for filter in [TapFilter::NONE, TapFilter::DROP, TapFilter::ALL] {
            switch.set(TapOrder { received: true, sent: false, ..TapOrder::from(filter) });
            // 7 bursts are more than there are slots.
            for _ in 0..7 {
                if worker.is_on() {
                    worker.take_in(&frames);
                    worker.record(0, PortId(0), 0, &frames, &decisions);
                }
            }
            while reader.read().is_some() {
                recorded += 1;
            }
        }
    });
    assert_eq!(allocated.count_total, 0);
    assert_eq!((recorded, reader.missed()), (200, 12 + 124));
}
