//! Bursts whose packets are of several networks, by the VLAN that their tags name; and bursts that take the general way alone.

use super::general::Candidate;
use super::header_prefetch::HeadersAhead;
use super::intake::Intake;
use super::plain::Other;
use super::step::Step;
use super::{BURST, Decision, Round};
use crate::counters::Counters;
use crate::frame::Frame;
use crate::ingress::ByTag;
use crate::network::{Network, Networks, OfPort};
use crate::verdict::Verdict;

impl<'s> Round<'s> {
    /// Takes in a burst that came by a port with VLANs, as [`Intake::take_in_all`] does one of a single network.
    #[inline(never)]
    pub(super) fn take_in_by_tag<F: Frame>(
        &self,
        by_tag: &ByTag,
        frames: &[F],
        steps: &mut [Step<'s>; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        counters: &mut Counters,
    ) {
        let ahead = HeadersAhead::of(frames);
        for (index, (frame, step)) in frames.iter().zip(&mut *steps).enumerate() {
            ahead.prefetch(index);
            let frame = frame.bytes();
            let intake = match by_tag.get(frame) {
                Ok(network) => self.intake(self.snapshot.networks.get(network)),
                Err(verdict) => {
                    decisions[index] = Decision::end(verdict);
                    continue;
                }
            };
            if let Err(other) = intake.take_in_frame(frame, step) {
                let (candidate, decision) = (&mut candidates[index], &mut decisions[index]);
                step.way = intake.take_in_other(other, frame, step, candidate, decision, counters);
            }
        }
    }

    /// Takes in a burst whose packets all take the general way.
    pub(super) fn take_in_generally<F: Frame>(
        &self,
        of_port: OfPort<'s>,
        frames: &[F],
        steps: &mut [Step<'s>; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        counters: &mut Counters,
    ) {
        for (frame, ((step, candidate), decision)) in
            frames.iter().zip(steps.iter_mut().zip(candidates).zip(decisions))
        {
            let frame = frame.bytes();
            match network_of(of_port, frame, &self.snapshot.networks) {
                Ok(network) => {
                    let intake: Intake<'s> = self.intake(network);
                    let other = Other::General;
                    step.way = intake.take_in_other(other, frame, step, candidate, decision, counters);
                }
                Err(verdict) => *decision = Decision::end(verdict),
            }
        }
    }
}

/// Network of a frame.
///
/// # Errors
/// The verdict on a frame that is of no network.
fn network_of<'n>(of_port: OfPort<'n>, frame: &[u8], networks: &'n Networks) -> Result<&'n Network, Verdict> {
    match of_port {
        OfPort::One(network) => Ok(network),
        OfPort::ByTag(by_tag) => by_tag.get(frame).map(|id| networks.get(id)),
    }
}
