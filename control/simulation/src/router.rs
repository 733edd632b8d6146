//! Router: clients are behind it, and it sends what is for a VIP to an appliance that announces it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use guideway::announce::{Messenger, Told};
use guideway_model::config::{Hook, VipRange};

use crate::dice::Dice;
use crate::frame::{self, Mac};
use crate::virtual_time;

/// Link-layer address of the router.
pub const MAC: Mac = [2, 0, 0, 0, 0, 0xfe];

/// IPv4 address of the router.
pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 254));

/// Route to a VIP by an appliance, as the router has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// True if packets are sent there.
    pub is_up: bool,
    /// Time of the latest change.
    pub since: Duration,
}

/// Routes by appliance and VIP, which messengers change.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<Mutex<BTreeMap<(usize, IpAddr), Route>>>);

/// Way of an appliance's announcements to the router.
#[derive(Debug)]
pub struct Session {
    appliance: usize,
    routes: Routes,
    manner: Mutex<Manner>,
}

/// Manner in which the router takes announcements.
#[derive(Debug)]
struct Manner {
    dice: Dice,
    /// Time until which it takes none.
    deaf_until: Duration,
    /// True once the appliance is dead: what was under way never arrives.
    is_over: bool,
}

/// Longest time that the router takes for a message.
pub const SLOWEST: Duration = Duration::from_millis(300);

impl Routes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(usize, IpAddr), Route>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sets a route.
    pub fn set(&self, appliance: usize, vip: IpAddr, is_up: bool, now: Duration) {
        let mut routes = self.lock();
        let route = routes.entry((appliance, vip)).or_insert(Route { is_up: !is_up, since: now });
        if route.is_up != is_up {
            *route = Route { is_up, since: now };
        }
    }

    /// Route by an appliance to a VIP; none before the first word of it.
    pub fn get(&self, appliance: usize, vip: IpAddr) -> Option<Route> {
        self.lock().get(&(appliance, vip)).copied()
    }

    /// Appliance that a packet is sent to: one of those that announce the VIP, by the packet's hash.
    pub fn choose(&self, vip: IpAddr, hash: u64) -> Option<usize> {
        let routes = self.lock();
        let up = routes.iter().filter(|((_, address), route)| *address == vip && route.is_up);
        let up: Vec<usize> = up.map(|((appliance, _), _)| *appliance).collect();
        (!up.is_empty()).then(|| up[(hash % up.len() as u64) as usize])
    }

    /// Withdraws all routes by an appliance.
    pub fn withdraw_all(&self, appliance: usize, now: Duration) {
        let mut routes = self.lock();
        let up = routes.iter_mut().filter(|((by, _), route)| *by == appliance && route.is_up);
        up.for_each(|(_, route)| *route = Route { is_up: false, since: now });
    }
}

impl Session {
    /// Session of an appliance with the router.
    pub fn new(appliance: usize, routes: Routes, dice: Dice) -> Self {
        let manner = Manner { dice, deaf_until: Duration::ZERO, is_over: false };
        Self { appliance, routes, manner: Mutex::new(manner) }
    }

    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the router deaf until a time.
    pub fn deafen(&self, until: Duration) {
        self.manner().deaf_until = until;
    }

    /// Time until which the router is deaf.
    pub fn deaf_until(&self) -> Duration {
        self.manner().deaf_until
    }

    /// Ends the session.
    pub fn end(&self) {
        self.manner().is_over = true;
    }
}

impl Messenger for Session {
    fn tell<'m>(&'m self, _: &'m Hook, announced: bool, address: VipRange) -> Told<'m> {
        Box::pin(async move {
            let takes = self.manner().dice.time(1, SLOWEST.as_millis() as u64);
            tokio::time::sleep(takes).await;
            let now = virtual_time::elapsed();
            let manner = self.manner();
            if now < manner.deaf_until || manner.is_over {
                return Err("the router does not answer".to_owned());
            }
            if let Ok(vip) = address.to_string().parse() {
                self.routes.set(self.appliance, vip, announced, now);
            }
            Ok(())
        })
    }
}

/// Answer of the router to a question for its address.
pub fn answer(received: &[u8]) -> Option<Vec<u8>> {
    let asked = frame::resolution(received)?;
    let from = frame::source(received)?;
    (asked.asks && asked.target == ADDRESS).then(|| frame::answer(&asked, from, MAC))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_to_those_alone_that_announce() {
        let (routes, vip) = (Routes::default(), IpAddr::from([203, 0, 113, 10]));
        assert_eq!(routes.choose(vip, 1), None);
        routes.set(0, vip, true, Duration::ZERO);
        routes.set(1, vip, true, Duration::ZERO);
        assert_eq!((routes.choose(vip, 4), routes.choose(vip, 5)), (Some(0), Some(1)));
        routes.withdraw_all(1, Duration::ZERO);
        assert_eq!(routes.choose(vip, 5), Some(0));
    }
}
