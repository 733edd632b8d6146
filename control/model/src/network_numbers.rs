//! Networks over a reload: the network of the configuration before that each network of the next one is, and the number that
//! it has by that.
//!
//! Everything that belongs to a network and outlives a configuration (connections, neighbours, announced VIPs, probes and
//! health, path MTUs, fragments) is known by the network's number. So a number stays with its network, and the comparison
//! of networks is made here alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use guideway_dataplane::ingress::NetworkId;

use crate::config::Network;

/// Index in `before` of the network that each of `now` is, or [`None`] for a new one. A network is known by its name; one
/// that was the only one and is so again is the same under any name.
pub(crate) fn predecessors(before: &[Arc<Network>], now: &[Arc<Network>]) -> Vec<Option<usize>> {
    if let ([_], [_]) = (before, now) {
        return vec![Some(0)];
    }
    let by_name: HashMap<&str, usize> =
        before.iter().enumerate().map(|(index, network)| (&*network.name, index)).collect();
    now.iter().map(|network| by_name.get(&*network.name).copied()).collect()
}

/// Networks of a configuration that follows on another one: those that stay have the numbers that they had, and new ones have
/// numbers that no network of either has, and that none has had for as long as possible.
pub(crate) fn numbered(before: &[Arc<Network>], now: &[Arc<Network>]) -> Vec<Arc<Network>> {
    let predecessors = predecessors(before, now);
    let taken: BTreeSet<NetworkId> = before.iter().map(|network| network.id).collect();
    // Twice as many numbers as networks: there is one for each, however many go and come at once.
    let next = taken.last().map_or(0, |last| last.0 + 1);
    let numbers = (next..NetworkId::NUMBERS as u8).chain(0..next);
    let mut free = numbers.map(NetworkId).filter(|id| !taken.contains(id));
    let mut number = |(network, predecessor): (&Arc<Network>, Option<usize>)| {
        let kept = predecessor.map(|index| before[index].id);
        let id = kept.or_else(|| free.next()).expect("two configurations have no more networks than numbers");
        if id == network.id { Arc::clone(network) } else { Arc::new(Network { id, ..(**network).clone() }) }
    };
    now.iter().zip(predecessors).map(&mut number).collect()
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::ingress::MAX_NETWORKS;

    use super::*;
    use crate::config::Config;

    fn networks<S: AsRef<str>>(names: &[S]) -> Vec<Arc<Network>> {
        let port = "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"\n".to_owned();
        let network = |text: String, (vlan, name): (usize, &S)| {
            text + &format!("[[network]]\nname = \"{}\"\nvlan = {vlan}\n", name.as_ref())
        };
        let text = (1..).zip(names).fold(port, network);
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}")).networks
    }

    fn numbers(networks: &[Arc<Network>]) -> Vec<u8> {
        networks.iter().map(|network| network.id.0).collect()
    }

    #[test]
    fn a_number_stays_with_its_network_while_others_come_and_go() {
        let first = networks(&["blue", "red"]);
        assert_eq!(numbers(&first), [0, 1]);
        let second = numbered(&first, &networks(&["green", "red", "blue"]));
        assert_eq!(numbers(&second), [2, 1, 0]);
        let third = numbered(&second, &networks(&["grey", "red"]));
        assert_eq!(numbers(&third), [3, 1], "a number of a moment ago is given to nobody else");
        let fourth = numbered(&third, &networks(&["red", "blue"]));
        assert_eq!(numbers(&fourth), [1, 4], "nor is one of two reloads ago");
    }

    #[test]
    fn a_sole_network_is_the_same_under_any_name_and_one_of_several_is_not() {
        let blue = networks(&["blue"]);
        assert_eq!(predecessors(&blue, &networks(&["red"])), [Some(0)]);
        assert_eq!(predecessors(&blue, &networks(&["red", "green"])), [None, None]);
        let sole = numbered(&networks(&["blue", "red"]), &networks(&["red"]));
        assert_eq!(numbers(&sole), [1]);
        assert_eq!(numbers(&numbered(&sole, &networks(&["green"]))), [1]);
    }

    #[test]
    fn there_are_numbers_for_as_many_networks_as_can_come_and_go_at_once() {
        let names = |prefix: &str| -> Vec<String> {
            (0..MAX_NETWORKS).map(|index| format!("{prefix}-{index}")).collect()
        };
        let mut known = networks(&names("a"));
        for prefix in ["b", "c", "d"] {
            let next = numbered(&known, &networks(&names(prefix)));
            let all: BTreeSet<u8> = numbers(&known).into_iter().chain(numbers(&next)).collect();
            assert_eq!(all.len(), 2 * MAX_NETWORKS);
            known = next;
        }
    }
}
