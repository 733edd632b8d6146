//! Packets that do not fit the path to their backend: refused and told so, cut into fragments, forwarded, or dropped.

use std::num::NonZeroU16;

use super::{Decision, Round};
use crate::counters::Counters;
use crate::delivery::TooLong;
use crate::frame::Frame;
use crate::icmp_error::{self, ErrorBudgets};
use crate::network::Network;
use crate::packet::Packet;
use crate::snapshot::Backend;
use crate::verdict::{DropReason, Verdict};

impl Round<'_> {
    /// Delivers a packet that does not fit the path, or drops it.
    #[cold]
    pub(super) fn deliver_too_long<F: Frame>(
        &self,
        packet: &Packet,
        backend: &Backend,
        frame: &mut F,
        decision: &mut Decision,
        counters: &mut Counters,
        budgets: &mut ErrorBudgets,
    ) {
        let delivery = &backend.delivery;
        let delivered = match delivery.too_long(packet) {
            TooLong::Refuse => {
                decision.answered = self.network_of(decision).is_some_and(|network| {
                    self.answer_too_big(network, packet, backend, frame, counters, budgets)
                });
                Err(DropReason::PacketTooBig)
            }
            TooLong::Drop => Err(DropReason::ExceedsTunnelMtu),
            TooLong::Fragment => delivery.deliver_in_fragments(frame, packet, &packet.flow).map(|()| {
                decision.fragment_mtu = NonZeroU16::new(delivery.mtu() as u16);
                counters.fragmented += 1;
            }),
            TooLong::Forward => {
                delivery.deliver(frame, packet, &packet.flow).map(|()| counters.exceeding_mtu += 1)
            }
        };
        match delivered {
            Ok(()) => decision.egress = delivery.port(),
            Err(reason) => decision.verdict = Verdict::Drop(reason),
        }
    }

    /// Network of a packet that has a rule: its service's.
    fn network_of(&self, decision: &Decision) -> Option<&Network> {
        let (_, service) = decision.rule?;
        Some(self.snapshot.networks.get(self.snapshot.service(service).network))
    }

    /// Tells the sender of a packet that it is too big, if that may be told. True if the frame now holds the answer.
    #[cold]
    fn answer_too_big<F: Frame>(
        &self,
        network: &Network,
        packet: &Packet,
        backend: &Backend,
        frame: &mut F,
        counters: &mut Counters,
        budgets: &mut ErrorBudgets,
    ) -> bool {
        let answered = network.error_source(packet.flow.dst).is_some_and(|own| {
            icmp_error::may_answer(frame.bytes(), packet)
                && budgets.take(network.id, self.now, network.icmp_errors_per_sec)
                && icmp_error::answer_too_big(frame, packet, own, backend.delivery.told_mtu(packet))
        });
        if answered {
            counters.icmp_errors_sent += 1;
        } else {
            counters.icmp_errors_suppressed += 1;
        }
        answered
    }
}
