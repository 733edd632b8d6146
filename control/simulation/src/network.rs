//! Network: a switch that takes each frame to the machine of its destination, later, and not always, and sometimes twice.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dice::Dice;

/// Machine on the network, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// Appliance.
    Appliance(usize),
    /// Backend.
    Backend(usize),
    /// Router that clients are behind.
    Router,
}

/// Quality of the network at a time: shares of the frames that meet with something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// Share that is lost.
    pub loss: f64,
    /// Share that comes twice.
    pub duplicates: f64,
    /// Share that is late, and overtaken.
    pub late: f64,
    /// Share whose headers are damaged.
    pub damage: f64,
}

impl Weather {
    /// True if nothing happens to frames.
    pub fn is_fair(&self) -> bool {
        *self == Self::default()
    }
}

/// Frame under way.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Machine that receives it.
    pub to: Node,
    /// Bytes.
    pub bytes: Vec<u8>,
    /// True if the bytes are not those that were sent.
    pub damaged: bool,
}

/// Frames under way, ordered by their time and then by their number.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    /// Quality at this time.
    pub weather: Weather,
    under_way: BTreeMap<(Duration, u64), Delivery>,
    sent: u64,
    /// Frames that were lost, for the report.
    pub lost: u64,
    /// Frames that came twice, for the report.
    pub doubled: u64,
}

impl Network {
    /// Network in fair weather.
    pub fn new(dice: Dice) -> Self {
        let (weather, under_way) = (Weather::default(), BTreeMap::new());
        Self { dice, weather, under_way, sent: 0, lost: 0, doubled: 0 }
    }

    /// Sends a frame to a machine. False if it is lost, or damaged on its way.
    pub fn send(&mut self, to: Node, bytes: &[u8], now: Duration) -> bool {
        if self.dice.chance(self.weather.loss) {
            self.lost += 1;
            return false;
        }
        let (mut copies, mut is_whole) = (1, true);
        if self.dice.chance(self.weather.duplicates) {
            self.doubled += 1;
            copies = 2;
        }
        for _ in 0..copies {
            let mut delay = Duration::from_micros(self.dice.below(900) as u64 + 50);
            if self.dice.chance(self.weather.late) {
                delay += self.dice.time(1, 120);
            }
            let (mut bytes, damaged) = (bytes.to_vec(), self.dice.chance(self.weather.damage));
            is_whole &= !damaged;
            if damaged {
                // Behind the addresses of the link, which the switch has read, and before the mark of a payload.
                let at = 12 + self.dice.below(bytes.len().clamp(13, 40) - 12);
                bytes[at] ^= 1 << self.dice.below(8);
            }
            self.sent += 1;
            self.under_way.insert((now + delay, self.sent), Delivery { to, bytes, damaged });
        }
        is_whole
    }

    /// Takes away frames under way of which nobody is told: for the test that this is seen.
    #[cfg(test)]
    pub(crate) fn steal(&mut self, is_stolen: impl Fn(&[u8]) -> bool) {
        self.under_way.retain(|_, delivery| !is_stolen(&delivery.bytes));
    }

    /// Takes the next frame that has arrived by now.
    pub fn arrived(&mut self, now: Duration) -> Option<Delivery> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_the_order_of_their_times_and_all_of_them_in_fair_weather() {
        let mut network = Network::new(Dice::new(1, "network"));
        for number in 0..100 {
            assert!(network.send(Node::Router, &[number; 60], Duration::ZERO));
        }
        assert!(network.arrived(Duration::ZERO).is_none());
        let arrived = std::iter::from_fn(|| network.arrived(Duration::from_millis(1))).count();
        assert_eq!((arrived, network.lost), (100, 0));
    }

    #[test]
    fn bad_weather_loses_doubles_and_damages() {
        let mut network = Network::new(Dice::new(1, "network"));
        network.weather = Weather { loss: 0.5, duplicates: 0.5, late: 0.5, damage: 0.5 };
        let whole = (0..1_000).filter(|_| network.send(Node::Router, &[0; 60], Duration::ZERO)).count();
        let arrived: Vec<_> = std::iter::from_fn(|| network.arrived(Duration::from_secs(1))).collect();
        assert_eq!(arrived.len() as u64, 1_000 - network.lost + network.doubled);
        let damaged = arrived.iter().filter(|delivery| delivery.damaged).count();
        assert!((200..=600).contains(&damaged), "{damaged}");
        assert!(whole < arrived.len() - damaged, "a frame of which one copy is damaged is not whole");
        assert!(arrived.iter().all(|delivery| delivery.damaged == (delivery.bytes != [0; 60])));
    }
}
