//! The virtual IP addresses of a network, as its host stack answers for them.

use std::collections::BTreeMap;

use guideway_model::config::{Config, NeighborReplies, VipRange};

use crate::net::host_stack::{Answers, Vip};

/// The VIPs of the network with this index, each once: rules of one VIP agree on who answers for it.
pub(super) fn vips(config: &Config, network: usize) -> Vec<Vip> {
    let answers = |replies| match replies {
        NeighborReplies::Always => Answers::Always,
        NeighborReplies::WhenAnnounced => Answers::WhenAnnounced,
        NeighborReplies::Never => Answers::Never,
    };
    let of_network = config.rules.iter().filter(|rule| rule.network == network);
    let by_vip: BTreeMap<VipRange, NeighborReplies> =
        of_network.map(|rule| (rule.vip, rule.neighbor_replies)).collect();
    let vip = |(vip, replies): (VipRange, _)| Vip { addresses: vip.into(), answers: answers(replies) };
    by_vip.into_iter().map(vip).collect()
}
