//! Clients with the most packets, in bounded memory: space-saving (Metwally, Agrawal, El Abbadi: "Efficient computation of
//! frequent and top-k elements in data streams", 2005).
//!
//! A client that finds no room takes over the slot of the one with the fewest packets, and its count. So each count is
//! too high by at most the count that it began with, which is at most the number of all packets by the number of clients
//! that there is room for; every client with more packets than that is in the list.

use std::collections::{BTreeSet, HashMap};

use guideway_dataplane::address::Address;

/// Clients that are counted at a time.
pub const MOST_CLIENTS: usize = 1_024;

/// Counts of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Address of the client.
    pub address: Address,
    /// Packets, at most.
    pub packets: u64,
    /// Packets by which `packets` may be too high.
    pub excess: u64,
    /// Bytes, since the client is in the list.
    pub bytes: u64,
    /// Connections whose backend was chosen, since the client is in the list.
    pub connections: u64,
}

#[derive(Debug)]
pub(super) struct TopClients {
    most: usize,
    counts: HashMap<Address, Client>,
    /// Clients by their packets.
    order: BTreeSet<(u64, Address)>,
}

impl Default for TopClients {
    fn default() -> Self {
        Self::with_room(MOST_CLIENTS)
    }
}

impl TopClients {
    fn with_room(most: usize) -> Self {
        Self { most, counts: HashMap::new(), order: BTreeSet::new() }
    }

    /// Counts a packet of a client.
    pub(super) fn add(&mut self, address: Address, bytes: u64, is_selection: bool) {
        if !self.counts.contains_key(&address) {
            let mut excess = 0;
            if self.counts.len() >= self.most
                && let Some((packets, fewest)) = self.order.pop_first()
            {
                self.counts.remove(&fewest);
                excess = packets;
            }
            self.order.insert((excess, address));
            let client = Client { address, packets: excess, excess, bytes: 0, connections: 0 };
            self.counts.insert(address, client);
        }
        let Some(client) = self.counts.get_mut(&address) else { return };
        self.order.remove(&(client.packets, address));
        client.packets += 1;
        client.bytes += bytes;
        client.connections += u64::from(is_selection);
        self.order.insert((client.packets, address));
    }

    /// Clients with the most packets, by their number, and the packets that any count is too high by at most: those of the
    /// client with the fewest, once one had to give way.
    pub(super) fn top(&self, most: usize) -> (Vec<Client>, u64) {
        let mut clients: Vec<Client> = self.counts.values().copied().collect();
        clients.sort_by_key(|client| (std::cmp::Reverse(client.packets), client.address));
        let has_lost = clients.iter().any(|client| client.excess > 0);
        let bound = if has_lost { self.order.first().map_or(0, |(packets, _)| *packets) } else { 0 };
        clients.truncate(most);
        (clients, bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Address {
        Address::v4([192, 0, 2, number])
    }

    #[test]
    fn few_clients_are_counted_exactly() {
        let mut clients = TopClients::with_room(4);
        for number in [1, 2, 2, 3, 3, 3] {
            clients.add(client(number), 100, number == 3);
        }
        let (top, bound) = clients.top(2);
        let shown: Vec<_> =
            top.iter().map(|one| (one.address, one.packets, one.bytes, one.connections)).collect();
        assert_eq!(shown, [(client(3), 3, 300, 3), (client(2), 2, 200, 0)]);
        assert_eq!(bound, 0);
    }

    #[test]
    fn counts_are_too_high_by_no_more_than_is_said() {
        let mut clients = TopClients::with_room(10);
        let mut exact = [0_u64; 256];
        let mut state = 1_u32;
        for _ in 0..10_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // A few clients send the most: the lowest numbers.
            let number = ((state >> 24).pow(3) >> 16) as u8;
            exact[usize::from(number)] += 1;
            clients.add(client(number), 1, false);
        }
        let (top, bound) = clients.top(10);
        assert!((1..=10_000 / 10).contains(&bound), "{bound}");
        for Client { address, packets, excess, .. } in &top {
            let exact = exact[usize::from(address.v4_bytes()[3])];
            assert!(
                (packets - excess..=*packets).contains(&exact),
                "{address}: {packets} - {excess}, {exact}"
            );
        }
        assert_eq!(top[0].address, client(0));
        for (number, count) in (0..=u8::MAX).zip(exact).filter(|(_, count)| *count > bound) {
            assert!(top.iter().any(|one| one.address == client(number)), "{number} with {count}");
        }
    }
}
