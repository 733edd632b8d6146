//! The task of one hook: tells it what is wanted, one thing at a time, until it has heard.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use guideway_model::config::{Hook, VipRange};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::launch::Launch;
use super::plan::{Reason, Wish};
use super::{bird, command};

/// Wait after a first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Interval at which a hook that may forget is told again.
const CONFIRMED_EVERY: Duration = Duration::from_secs(10);

/// Wishes that a hook is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) wishes: BTreeMap<VipRange, Wish>,
    /// True when the appliance ends: no announcement is waited for.
    pub(super) is_last: bool,
    /// Number of times that others may have told the hook something else: what it was told before counts no more.
    pub(super) doubts: u64,
}

/// Progress of an address: what is wanted, and what the hook has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Wish for the address.
    pub wish: Wish,
    /// State that the hook was told last, true for announced; none at the start and after a failure, when nobody knows.
    pub announced: Option<bool>,
    /// Time of the last change of `announced`.
    pub since: SystemTime,
    /// Consecutive failures to tell the hook.
    pub failures: u32,
    /// Error of the last failure.
    pub last_error: Option<String>,
}

impl Progress {
    /// True if the hook has heard what is wanted.
    pub fn is_settled(&self) -> bool {
        self.announced == Some(self.wish.reason.announces())
    }
}

/// Hook that can be told.
pub(super) trait Tell {
    /// True if the hook may forget what it was told, so that it is told again now and then.
    fn forgets(&self) -> bool;

    /// Tells the hook that an address is announced or withdrawn from now on.
    fn tell(
        &mut self,
        announced: bool,
        address: VipRange,
        rule: &str,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// True if a hook may forget what it was told: BIRD does when it starts anew; a program is the operator's own business.
pub(super) fn may_forget(hook: &Hook) -> bool {
    matches!(hook, Hook::Bird { .. })
}

/// Hook of the configuration, and the start of its program where that hangs.
#[derive(Debug)]
pub(super) struct ConfiguredHook {
    pub(super) hook: Hook,
    launch: Launch,
    starting: command::Starting,
}

impl ConfiguredHook {
    pub(super) fn new(hook: Hook, launch: Launch) -> Self {
        Self { hook, launch, starting: command::Starting::default() }
    }
}

impl Tell for ConfiguredHook {
    fn forgets(&self) -> bool {
        may_forget(&self.hook)
    }

    async fn tell(&mut self, announced: bool, address: VipRange, rule: &str) -> Result<(), String> {
        match &self.hook {
            Hook::Bird { socket, protocol } => bird::switch(socket, protocol, announced).await,
            Hook::Command(words) => {
                let verb = if announced { "announce" } else { "withdraw" };
                command::run(words, verb, address, rule, self.launch, &mut self.starting).await
            }
        }
    }
}

/// Address, and the time at which the hook is told of it next.
struct Target {
    progress: Progress,
    due: Instant,
}

/// Tells a hook what `orders` say, and shows how far it has come, until nobody gives orders any more.
pub(super) async fn serve(
    mut hook: impl Tell,
    mut orders: watch::Receiver<Order>,
    shown: watch::Sender<BTreeMap<VipRange, Progress>>,
) {
    let mut targets = BTreeMap::<VipRange, Target>::new();
    let mut doubts = 0;
    let (mut is_new, mut is_last) = (true, false);
    loop {
        // There may be thousands of addresses: they are looked through when orders come, and not for each that is told.
        if std::mem::take(&mut is_new) {
            // Borrowed until `shown` has it: whoever gives orders sees either that an address is not taken in, or that it is.
            let orders = orders.borrow_and_update();
            let order = orders.clone();
            let is_urgent = order.is_last && !is_last;
            is_last = order.is_last;
            take_in(&mut targets, order.wishes, is_urgent);
            if order.doubts != doubts {
                doubts = order.doubts;
                targets.values_mut().for_each(Target::doubt);
            }
            targets.retain(|_, target| !target.is_over());
            let progress = |(address, target): (&VipRange, &Target)| (*address, target.progress.clone());
            shown.send_replace(targets.iter().map(progress).collect());
            drop(orders);
        }

        let due = |(address, target): (&VipRange, &Target)| {
            (!target.progress.is_settled() || hook.forgets()).then_some((target.due, *address))
        };
        let next = targets.iter().filter_map(due).min();
        let changed = match next {
            None => Some(orders.changed().await),
            Some((at, _)) => tokio::select! {
                biased;
                changed = orders.changed() => Some(changed),
                () = sleep_until(at) => None,
            },
        };
        match changed {
            Some(Ok(())) => is_new = true,
            Some(Err(_)) => return,
            None => {}
        }
        let Some((_, address)) = next.filter(|_| changed.is_none()) else { continue };
        let Some(target) = targets.get_mut(&address) else { continue };
        let wish = &target.progress.wish;
        let announced = wish.reason.announces();
        let told = tokio::select! {
            told = hook.tell(announced, address, &wish.rule) => told,
            () = last(orders.clone()), if announced && !is_last => Err("the appliance stops".to_owned()),
        };
        target.note(announced, told);
        if target.is_over() {
            targets.remove(&address);
            shown.send_modify(|shown| drop(shown.remove(&address)));
        } else {
            shown.send_modify(|shown| drop(shown.insert(address, target.progress.clone())));
        }
    }
}

/// Waits until the appliance ends.
async fn last(mut orders: watch::Receiver<Order>) {
    // Where nobody gives orders any more, it has ended.
    let _ = orders.wait_for(|order| order.is_last).await;
}

/// Takes over the wishes; what changes is due at once.
fn take_in(targets: &mut BTreeMap<VipRange, Target>, wishes: BTreeMap<VipRange, Wish>, is_urgent: bool) {
    let now = Instant::now();
    for (address, wish) in wishes {
        match targets.get_mut(&address) {
            Some(target) => {
                if is_urgent || wish.reason.announces() != target.progress.wish.reason.announces() {
                    (target.due, target.progress.failures) = (now, 0);
                }
                target.progress.wish = wish;
            }
            // What was never told need not be taken back.
            None if wish.reason == Reason::Removed => {}
            None => {
                let (since, announced) = (SystemTime::now(), None);
                let progress = Progress { wish, announced, since, failures: 0, last_error: None };
                targets.insert(address, Target { progress, due: now });
            }
        }
    }
}

impl Target {
    /// Notes the result of telling the hook.
    fn note(&mut self, announced: bool, told: Result<(), String>) {
        let progress = &mut self.progress;
        let known = told.is_ok().then_some(announced);
        if progress.announced != known {
            (progress.announced, progress.since) = (known, SystemTime::now());
        }
        let wait = match told {
            Ok(()) => {
                (progress.failures, progress.last_error) = (0, None);
                CONFIRMED_EVERY
            }
            Err(error) => {
                let wait = FIRST_WAIT.saturating_mul(1 << progress.failures.min(5));
                progress.failures = progress.failures.saturating_add(1);
                progress.last_error = Some(error);
                wait.min(LONGEST_WAIT)
            }
        };
        self.due = Instant::now() + wait;
    }

    /// True if the address is no longer configured and has been withdrawn.
    fn is_over(&self) -> bool {
        self.progress.wish.reason == Reason::Removed && self.progress.announced == Some(false)
    }

    /// Forgets what the hook was told: somebody else may have told it something.
    fn doubt(&mut self) {
        (self.progress.announced, self.due) = (None, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// One thing that a hook was told: true for announced, and the seconds from the start.
    type Told = (bool, u64);

    /// Hook that takes its time, fails as often as it is told to, and remembers.
    #[derive(Clone)]
    struct Fake {
        begun: Instant,
        takes: Duration,
        forgets: bool,
        failures: Arc<Mutex<usize>>,
        told: Arc<Mutex<Vec<Told>>>,
        at_once: Arc<Mutex<usize>>,
    }

    impl Tell for Fake {
        fn forgets(&self) -> bool {
            self.forgets
        }

        async fn tell(&mut self, announced: bool, _: VipRange, _: &str) -> Result<(), String> {
            let at = self.begun.elapsed().as_secs();
            *self.at_once.lock().expect("no test has failed") += 1;
            assert_eq!(*self.at_once.lock().expect("no test has failed"), 1, "one at a time");
            let told = Guard(&*self);
            told.0.told.lock().expect("no test has failed").push((announced, at));
            tokio::time::sleep(self.takes).await;
            let mut failures = self.failures.lock().expect("no test has failed");
            if *failures > 0 {
                *failures -= 1;
                return Err("it rains".to_owned());
            }
            Ok(())
        }
    }

    struct Guard<'f>(&'f Fake);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            *self.0.at_once.lock().expect("no test has failed") -= 1;
        }
    }

    fn address(host: u8) -> VipRange {
        IpAddr::from([203, 0, 113, host]).into()
    }

    fn order(wishes: &[(u8, Reason)]) -> Order {
        let wishes = wishes.iter().map(|(host, reason)| (address(*host), Wish::of_web(*reason))).collect();
        Order { wishes, ..Order::default() }
    }

    struct RunningTask {
        fake: Fake,
        orders: watch::Sender<Order>,
        shown: watch::Receiver<BTreeMap<VipRange, Progress>>,
    }

    impl RunningTask {
        fn want(&self, wishes: &[(u8, Reason)]) {
            self.orders.send_modify(|known| known.wishes = order(wishes).wishes);
        }

        fn told(&self) -> Vec<Told> {
            self.fake.told.lock().expect("no test has failed").clone()
        }

        fn progress(&self, host: u8) -> Progress {
            self.shown.borrow()[&address(host)].clone()
        }
    }

    /// Runs a test on a clock that stands still while anybody works.
    fn with_task<F: Future<Output = ()>>(
        (takes, failures, forgets): (u64, usize, bool),
        test: impl FnOnce(RunningTask) -> F,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(async {
            let fake = Fake {
                begun: Instant::now(),
                takes: Duration::from_secs(takes),
                forgets,
                failures: Arc::new(Mutex::new(failures)),
                told: Arc::default(),
                at_once: Arc::default(),
            };
            let (orders, ordered) = watch::channel(Order::default());
            let (show, shown) = watch::channel(BTreeMap::new());
            let task = tokio::spawn(serve(fake.clone(), ordered, show));
            test(RunningTask { fake, orders, shown }).await;
            tokio::time::timeout(Duration::from_secs(1), task).await.expect("it ends").expect("no panic");
        });
    }

    async fn seconds(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[test]
    fn only_what_is_wanted_last_is_told() {
        with_task((4, 0, false), async |task: RunningTask| {
            task.want(&[(10, Reason::Served)]);
            seconds(1).await;
            for _ in 0..100 {
                task.want(&[(10, Reason::TooFewHealthy)]);
                tokio::task::yield_now().await;
                task.want(&[(10, Reason::Served)]);
                tokio::task::yield_now().await;
            }
            task.want(&[(10, Reason::WorkerStalled)]);
            seconds(20).await;
            assert_eq!(task.told(), [(true, 0), (false, 4)]);
            assert_eq!(task.progress(10).announced, Some(false));
        });
    }

    #[test]
    fn what_is_not_wanted_is_taken_back_at_the_start_for_an_earlier_process_may_have_left_it() {
        with_task((0, 0, false), async |task: RunningTask| {
            task.want(&[(10, Reason::TooFewHealthy)]);
            seconds(100).await;
            assert_eq!(task.told(), [(false, 0)]);
        });
    }

    #[test]
    fn a_failure_is_shown_and_tried_again_ever_more_rarely() {
        with_task((0, 8, false), async |task: RunningTask| {
            task.want(&[(10, Reason::Served)]);
            seconds(20).await;
            let progress = task.progress(10);
            assert_eq!((progress.announced, progress.failures), (None, 5));
            assert_eq!(progress.last_error.as_deref(), Some("it rains"));
            seconds(180).await;
            let progress = task.progress(10);
            assert_eq!((progress.announced, progress.failures, progress.last_error), (Some(true), 0, None));
            let at: Vec<_> = task.told().iter().map(|(_, at)| *at).collect();
            assert_eq!(at, [0, 1, 3, 7, 15, 31, 61, 91, 121]);
        });
    }

    #[test]
    fn a_change_of_mind_does_not_wait_for_the_next_try() {
        with_task((0, 6, false), async |task: RunningTask| {
            task.want(&[(10, Reason::Served)]);
            seconds(50).await;
            task.want(&[(10, Reason::Draining)]);
            seconds(1).await;
            assert_eq!(task.told().last(), Some(&(false, 50)));
            assert!(task.progress(10).is_settled());
        });
    }

    #[test]
    fn a_hook_that_forgets_is_told_again() {
        with_task((0, 0, true), async |task: RunningTask| {
            task.want(&[(10, Reason::Served)]);
            seconds(35).await;
            assert_eq!(task.told(), [(true, 0), (true, 10), (true, 20), (true, 30)]);
        });
    }

    #[test]
    fn a_hook_in_doubt_is_told_again_at_once() {
        with_task((0, 0, false), async |task: RunningTask| {
            task.want(&[(10, Reason::Served)]);
            seconds(5).await;
            task.orders.send_modify(|order| order.doubts += 1);
            seconds(5).await;
            assert_eq!(task.told(), [(true, 0), (true, 5)]);
        });
    }

    #[test]
    fn what_is_removed_is_withdrawn_and_forgotten() {
        with_task((0, 0, true), async |task: RunningTask| {
            task.want(&[(10, Reason::Served), (11, Reason::Served)]);
            seconds(5).await;
            task.want(&[(10, Reason::Removed), (11, Reason::Served), (12, Reason::Removed)]);
            seconds(4).await;
            assert_eq!(task.told(), [(true, 0), (true, 0), (false, 5)]);
            assert_eq!(task.shown.borrow().keys().copied().collect::<Vec<_>>(), [address(11)]);
        });
    }

    #[test]
    fn an_appliance_that_ends_waits_for_no_announcement() {
        with_task((8, 0, false), async |task: RunningTask| {
            task.want(&[(10, Reason::Served), (11, Reason::TooFewHealthy)]);
            seconds(2).await;
            task.orders.send_modify(|known| {
                known.wishes = order(&[(10, Reason::Stopping), (11, Reason::Stopping)]).wishes;
                known.is_last = true;
            });
            seconds(20).await;
            assert_eq!(task.told(), [(true, 0), (false, 2), (false, 10)]);
            assert!(task.progress(10).is_settled() && task.progress(11).is_settled());
        });
    }
}
