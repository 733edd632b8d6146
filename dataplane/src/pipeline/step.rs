//! Steps: what is known of a packet between the loops.

use super::{Decision, Tracking};
use crate::backend::BackendHandle;
use crate::conntrack::{Home, TrackingKey};
use crate::delivery::{PlainForm, PlainPacket};
use crate::forwarding_rule::{Came, RuleId, ServiceId};
use crate::packet::Plain;
use crate::snapshot::PlainBackend;
use crate::wire::ethernet::HEADER_LEN;

/// Way of a packet between the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// No further way: the decision is final.
    Ended,
    /// Plain, of a connection that should have an entry.
    Established,
    /// Plain, of a connection that has turned out to have no valid entry.
    Unknown,
    /// Plain, and starts its connection anew.
    Opening,
    /// Plain, and not tracked.
    Untracked,
    /// Plain, and a candidate: it closes its connection, or opens one of several that are tracked together.
    Turning,
    /// A candidate of the general way.
    General,
}

/// State of a packet between the loops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'s> {
    pub(super) key: TrackingKey,
    /// Home bucket of the key, if the connection should have an entry.
    pub(super) home: Option<Home<'s>>,
    /// Backend that the plain packet is on its way to; none before it is found, and for packets of the general way.
    pub(super) backend: Option<&'s PlainBackend>,
    /// Handle of that backend; before it is found, slot of the lookup table, or seat of a subset, that the hash of an opening
    /// packet leads to.
    pub(super) target: u32,
    pub(super) rule: RuleId,
    pub(super) service: ServiceId,
    pub(super) packet: PlainPacket,
    tracking: Tracking,
    pub(super) way: Way,
    pub(super) came: Came,
}

impl<'s> Step<'s> {
    /// Step before there is any.
    pub(super) const NONE: Self = Self {
        key: TrackingKey(0),
        home: None,
        backend: None,
        target: 0,
        rule: RuleId(0),
        service: ServiceId(0),
        packet: PlainPacket { l3_len: 0, form: PlainForm::Ipv4 },
        tracking: Tracking::Off,
        way: Way::Ended,
        came: Came::Directly,
    };

    /// Sends the packet on its way to a backend.
    #[inline(always)]
    pub(super) fn depart_to(&mut self, backend: &'s PlainBackend, handle: BackendHandle, tracking: Tracking) {
        (self.backend, self.target, self.tracking) = (Some(backend), handle.0, tracking);
    }

    /// Notes that the connection has no valid entry. False, as the packet does not follow it.
    #[inline(always)]
    pub(super) fn turn_out_unknown(&mut self) -> bool {
        (self.home, self.way) = (None, Way::Unknown);
        false
    }

    /// Decision on the packet when it departs, in a frame that came with `received_len` bytes.
    #[inline(always)]
    pub(super) fn decision(&self, received_len: usize) -> Decision {
        Decision {
            rule: Some((self.rule, self.service)),
            backend: Some(BackendHandle(self.target)),
            tracking: self.tracking,
            received_len: received_len as u32,
            ..Decision::PENDING
        }
    }
}

/// Plain packet of a step, in its frame.
#[inline(always)]
pub(super) fn known_in<'f, P: Plain<'f>>(frame: &'f [u8], step: &Step<'_>) -> P {
    let packet = frame.get(HEADER_LEN + step.packet.form.tag_len()..).and_then(P::known);
    packet.expect("it was plain in the first loop")
}
