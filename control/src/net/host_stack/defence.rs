//! Defence of addresses that another host claims: an announcement, and no more than one in ten seconds for an address.
//!
//! RFC 5227, section 2.4, leaves a host three ways. The appliance takes the last: it has its addresses from its operator, and
//! clients rely on them, so it defends them for good, and never gives one up. Two hosts that do so for one address would
//! otherwise announce it for ever, each on the other's announcement.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway_dataplane::address::Address;

use super::link::LinkId;

/// DEFEND_INTERVAL of RFC 5227, section 1.1.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// The most addresses that are defended within an interval: those of a prefix are many, and a stranger may claim them all.
const MAX_DEFENDED: usize = 256;

/// Times at which addresses were defended.
#[derive(Debug, Default)]
pub(super) struct Defence(BTreeMap<(LinkId, Address), Duration>);

impl Defence {
    /// True if an address that is claimed on a link at `now` is to be defended.
    pub(super) fn is_due(&mut self, link: LinkId, address: Address, now: Duration) -> bool {
        let is_recent = |at: &Duration| now < *at + DEFEND_INTERVAL;
        if self.0.get(&(link, address)).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= MAX_DEFENDED {
            self.0.retain(|_, at| is_recent(at));
        }
        if self.0.len() >= MAX_DEFENDED {
            return false;
        }
        self.0.insert((link, address), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn an_address_is_defended_once_in_ten_seconds() {
        let (mut defence, address) = (Defence::default(), Address::v4([192, 0, 2, 1]));
        let times: Vec<u64> = (0..30).filter(|at| defence.is_due(LinkId(0), address, secs(*at))).collect();
        assert_eq!(times, [0, 10, 20]);
        assert!(defence.is_due(LinkId(1), address, secs(21)), "another link");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut defence = Defence::default();
        let mut due =
            |at| (0..1_000).filter(|host| defence.is_due(LinkId(0), Address(*host), secs(at))).count();
        assert_eq!([due(0), due(5), due(10)], [MAX_DEFENDED, 0, MAX_DEFENDED]);
    }
}
