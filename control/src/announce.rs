//! Announcements: routers learn the way to a virtual IP address only while this appliance can serve it.
//!
//! ```text
//!  configuration, health, stalls ──▶ Planner ──▶ Plan ──▶ Announcer ──┬─▶ a task a hook ──▶ BIRD's control socket
//!                                                                       ├─▶ a task a hook ──▶ a program
//!                                                                       └─▶ the guard, which outlives the appliance
//! ```
//!
//! A hook is told one thing at a time, and only what was wanted last: nobody hears of what was wanted in between.

pub mod bird;
mod command;
mod guard;
mod hook_task;
mod hook_thread;
mod launch;
mod messenger;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use guideway_model::config::{Hook, VipRange};

pub use guard::{Guard, GuardState, VERB as GUARD_VERB, stand as stand_guard};
use guard::{Instructions, Withdrawal};
pub use hook_task::Progress;
use hook_task::{ConfiguredHook, Order, Tell};
use hook_thread::HookThread;
use launch::Launch;
pub use launch::launch;
use messenger::ByMessenger;
pub use messenger::{Messenger, Told};
pub use plan::{ApplianceState, Plan, Planner, Reason, Stage, Wish};

/// Longest wait until everything is withdrawn when the appliance ends.
const LAST_TIME: Duration = Duration::from_secs(5);

/// Announcer that tells hooks what plans want.
#[derive(Debug)]
pub struct Announcer {
    hooks: BTreeMap<Hook, HookHandle>,
    /// Thread of the hooks' tasks; none before the first hook, or where there can be none.
    hook_thread: Option<HookThread>,
    /// Messenger that tells the hooks, by tasks of the caller's runtime; none where they are told themselves.
    messenger: Option<Arc<dyn Messenger>>,
    guard: Option<Instructions>,
    launch: Launch,
}

/// Handle of the task that tells one hook.
#[derive(Debug)]
struct HookHandle {
    orders: watch::Sender<Order>,
    progress: watch::Receiver<BTreeMap<VipRange, Progress>>,
    /// States that `news` has told of already.
    reported: BTreeMap<VipRange, (Option<bool>, bool)>,
}

/// Looks at a hook without telling it anything: asks BIRD for its protocol, and looks for the program of a command.
///
/// # Errors
/// Cause for which the hook could not be told, in words.
pub async fn look(hook: &Hook) -> Result<String, String> {
    match hook {
        Hook::Bird { socket, protocol } => bird::look(socket, protocol).await,
        Hook::Command(words) => command::look(words),
    }
}

/// Address that a hook is told of, and how far that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Hook that is told.
    pub hook: Hook,
    /// Address that is announced or withdrawn.
    pub address: VipRange,
    /// Progress of the hook with this address.
    pub progress: Progress,
}

impl Announcer {
    /// An announcer without announcements; `guard` withdraws everything if this process ends without having done so.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is a guard.
    pub fn new(guard: Option<Guard>) -> Self {
        let launch = guard.as_ref().map_or(Launch::Directly, Guard::launch);
        let guard = guard.map(Guard::instruct);
        Self { hooks: BTreeMap::new(), hook_thread: None, messenger: None, guard, launch }
    }

    /// Has a messenger tell the hooks, by tasks of the runtime that [`Self::want`] is called on.
    #[must_use]
    pub fn told_by(self, messenger: Arc<dyn Messenger>) -> Self {
        Self { messenger: Some(messenger), ..self }
    }

    /// Tells hooks what `plan` wants. Addresses that are no longer in it are withdrawn.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is something to announce and no thread for it.
    pub fn want(&mut self, plan: &Plan) {
        for hook in plan.0.keys().filter(|hook| !plan.0[*hook].is_empty()) {
            if !self.hooks.contains_key(hook) {
                self.begin(hook);
            }
        }
        self.hooks.retain(|hook, handle| handle.want(plan.0.get(hook)));
        if let Some(guard) = &self.guard {
            guard.set(self.withdrawals(|_| true));
        }
    }

    /// Begins the task of a hook.
    fn begin(&mut self, hook: &Hook) {
        if let Some(messenger) = self.messenger.clone() {
            let (handle, task) = HookHandle::new(ByMessenger { hook: hook.clone(), messenger });
            tokio::spawn(task);
            self.hooks.insert(hook.clone(), handle);
            return;
        }
        if self.hook_thread.is_none() {
            let thread =
                HookThread::start().map_err(|error| tracing::error!("hooks have no thread: {error}"));
            self.hook_thread = thread.ok();
        }
        let (handle, task) = HookHandle::new(ConfiguredHook::new(hook.clone(), self.launch));
        match &self.hook_thread {
            Some(thread) => thread.spawn(task),
            None => drop(tokio::spawn(task)),
        }
        self.hooks.insert(hook.clone(), handle);
    }

    /// Lists the withdrawals, of addresses that hooks may have been told to announce, that `is_wanted` picks.
    fn withdrawals(&self, is_wanted: impl Fn(Option<&Progress>) -> bool) -> Vec<Withdrawal> {
        let of_hook = |(hook, handle): (&Hook, &HookHandle)| {
            let (order, progress) = (handle.orders.borrow(), handle.progress.borrow());
            let wishes = order.wishes.iter().filter(|(address, _)| is_wanted(progress.get(address)));
            let rules = wishes.map(|(address, wish)| (*address, wish.rule.clone())).collect();
            Withdrawal { hook: hook.clone(), rules }
        };
        let mut withdrawals: Vec<_> = self.hooks.iter().map(of_hook).collect();
        withdrawals.retain(|withdrawal| !withdrawal.rules.is_empty());
        withdrawals
    }

    /// Leaves what could not be withdrawn to the guard, and nothing else.
    pub async fn relieve_guard(&mut self) {
        let left =
            self.withdrawals(|progress| progress.is_some_and(|progress| progress.announced != Some(false)));
        if let Some(guard) = self.guard.take() {
            guard.end(left).await;
        }
    }

    /// State of the guard; none where there is to be none.
    pub fn guard(&self) -> Option<GuardState> {
        self.guard.as_ref().map(Instructions::state)
    }

    /// Tells the hooks everything again: others may have told them something in the meantime.
    pub fn doubt(&self) {
        for handle in self.hooks.values() {
            handle.orders.send_modify(|order| order.doubts += 1);
        }
    }

    /// Lists every address, and how far it has come.
    pub fn status(&self) -> Vec<Announced> {
        let hooks = self.hooks.iter();
        let of_hook = |(hook, handle): (&Hook, &HookHandle)| {
            let progress = handle.progress.borrow().clone();
            let hook = hook.clone();
            progress.into_iter().map(move |(address, progress)| Announced {
                hook: hook.clone(),
                address,
                progress,
            })
        };
        hooks.flat_map(of_hook).collect()
    }

    /// Lists what hooks have heard, or have begun not to hear, since the last call.
    pub fn news(&mut self) -> Vec<Announced> {
        let of_hook = |(hook, handle): (&Hook, &mut HookHandle)| {
            let news = handle.news();
            let hook = hook.clone();
            news.into_iter().map(move |(address, progress)| Announced {
                hook: hook.clone(),
                address,
                progress,
            })
        };
        self.hooks.iter_mut().flat_map(of_hook).collect()
    }

    /// True if the hooks have heard everything that is wanted.
    pub fn is_settled(&self) -> bool {
        self.hooks.values().all(HookHandle::is_settled)
    }

    /// Withdraws everything, and waits until that is done, for no longer than five seconds.
    pub fn withdraw_all(&mut self) -> impl Future<Output = ()> + use<> {
        for handle in self.hooks.values() {
            handle.orders.send_modify(|order| {
                order.is_last = true;
                order.wishes.values_mut().for_each(|wish| *wish = wish.for_good(Reason::Stopping));
            });
        }
        let progress: Vec<_> = self.hooks.values().map(|handle| handle.progress.clone()).collect();
        async move {
            let all = async {
                for mut progress in progress {
                    let is_withdrawn = |shown: &BTreeMap<VipRange, Progress>| {
                        shown.values().all(|progress| {
                            !progress.wish.reason.announces() && progress.announced == Some(false)
                        })
                    };
                    // A task that is gone tells nobody anything.
                    let _ = progress.wait_for(is_withdrawn).await;
                }
            };
            // Whatever is left is in `status`.
            let _ = timeout(LAST_TIME, all).await;
        }
    }
}

impl HookHandle {
    /// Handle of a hook, and its task.
    fn new(hook: impl Tell + Send + Sync + 'static) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (orders, ordered) = watch::channel(Order::default());
        let (shown, progress) = watch::channel(BTreeMap::new());
        let task = hook_task::serve(hook, ordered, shown);
        (Self { orders, progress, reported: BTreeMap::new() }, task)
    }

    /// Wants these addresses and no others; true if there is anything left to do.
    fn want(&self, wishes: Option<&BTreeMap<VipRange, Wish>>) -> bool {
        let mut wanted = wishes.cloned().unwrap_or_default();
        let mut is_needed = true;
        self.orders.send_if_modified(|order| {
            // The task shows what it takes in while it has the orders, and so not in between.
            let progress = self.progress.borrow();
            for (address, wish) in &order.wishes {
                let is_done = wish.reason == Reason::Removed && !progress.contains_key(address);
                if !wanted.contains_key(address) && !is_done {
                    wanted.insert(*address, wish.for_good(Reason::Removed));
                }
            }
            is_needed = !wanted.is_empty();
            let is_new = order.wishes != wanted;
            order.wishes = wanted;
            is_new
        });
        is_needed
    }

    fn news(&mut self) -> Vec<(VipRange, Progress)> {
        if !self.progress.has_changed().unwrap_or(false) {
            return Vec::new();
        }
        let shown = self.progress.borrow_and_update();
        let state = |progress: &Progress| (progress.announced, progress.failures > 0);
        let is_new = |(address, progress): &(&VipRange, &Progress)| {
            state(progress) != (None, false) && self.reported.get(address) != Some(&state(progress))
        };
        let news =
            shown.iter().filter(is_new).map(|(address, progress)| (*address, progress.clone())).collect();
        self.reported = shown.iter().map(|(address, progress)| (*address, state(progress))).collect();
        news
    }

    fn is_settled(&self) -> bool {
        let (order, progress) = (self.orders.borrow(), self.progress.borrow());
        order.wishes.iter().all(|(address, wish)| match progress.get(address) {
            Some(progress) => progress.wish == *wish && progress.is_settled(),
            None => wish.reason == Reason::Removed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::hook_task::Tell;
    use super::*;

    /// Hook that remembers what it was told last of each address.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<BTreeMap<VipRange, bool>>>);

    impl Tell for Memory {
        fn forgets(&self) -> bool {
            false
        }

        async fn tell(&mut self, announced: bool, address: VipRange, _: &str) -> Result<(), String> {
            self.0.lock().expect("no test has failed").insert(address, announced);
            Ok(())
        }
    }

    /// Wishes for addresses, which are enough for the task to take them in for a while.
    fn wishes(number: u16) -> BTreeMap<VipRange, Wish> {
        let wish = |index: u16| {
            let [high, low] = index.to_be_bytes();
            (IpAddr::from([10, 0, high, low]).into(), Wish::of_web(Reason::Served))
        };
        (0..number).map(wish).collect()
    }

    #[test]
    fn an_address_that_is_removed_while_its_announcement_begins_is_withdrawn() {
        let hooks = HookThread::start().expect("a thread");
        for delay in 0..50 {
            let told = Memory::default();
            let (orders, ordered) = watch::channel(Order::default());
            let (shown, progress) = watch::channel(BTreeMap::new());
            hooks.spawn(hook_task::serve(told.clone(), ordered, shown));
            let handle = HookHandle { orders, progress, reported: BTreeMap::new() };
            let kept = wishes(1);
            handle.want(Some(&wishes(300)));
            thread::sleep(Duration::from_micros(delay * 10));
            // Two plans without them.
            handle.want(Some(&kept));
            handle.want(Some(&kept));
            let end = std::time::Instant::now() + Duration::from_secs(60);
            while !(handle.is_settled() && handle.progress.borrow().len() == 1) {
                assert!(std::time::Instant::now() < end, "after {} µs it does not settle", delay * 10);
                handle.want(Some(&kept));
                thread::sleep(Duration::from_micros(100));
            }
            let told = told.0.lock().expect("no test has failed");
            let left = told.iter().filter(|(address, announced)| **announced && !kept.contains_key(address));
            assert_eq!(left.count(), 0, "after {} µs they stay announced", delay * 10);
        }
    }
}
