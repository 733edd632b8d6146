//! Plan of a port's queues: who polls which, who hands a share of it to whom, and by whose queue each worker sends.
//!
//! A device may have fewer queues than there are workers, and fewer of one direction than of the other. The workers that
//! come first in the plan's order have queues of their own. Each of the others gets an even share, of one receive queue or
//! of several that lie side by side:
//!
//! ```text
//! receive queue       0          1          2          3         7 workers, 4 receive queues
//! polled by worker    0          1          2          3
//! shared with         4          4 5        5 6        6         each of 4, 5, 6 gets as much as the others
//! ```
//!
//! A worker that shares out its queue does more for each frame of it than one that is handed a frame, so it keeps a little
//! less than an even share for itself.

use std::fmt;

/// Slots of a receive queue, which its flows fall to by their hash; the workers of the queue share the slots.
pub const SLOTS: usize = 1024;

/// Work of handing on a frame, as one part in so many of what the worker that gets it does with it: an estimate, which errs
/// on the low side.
const STEERING_PART: usize = 4;

/// Part of an even share that a worker keeps of a queue at least, as one in so many.
const LEAST_PART: usize = 4;

/// Plan of one port's queues.
#[derive(Clone, PartialEq, Eq)]
pub struct QueuePlan {
    /// Numbers of the workers, those first that get queues first.
    order: Vec<u16>,
    rx_queues: u16,
    tx_queues: u16,
}

/// Part of a receive queue that falls to one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of the worker.
    pub worker: u16,
    /// Number of the slots, of [`SLOTS`], that the worker has.
    pub slots: usize,
}

impl QueuePlan {
    /// Plans the queues of a port for the workers in `order`, each number once from 0 on: receive and transmit queues go to
    /// the first of them.
    ///
    /// # Panics
    /// If there is no worker, or no queue of one direction.
    pub fn new(order: Vec<u16>, rx_queues: u16, tx_queues: u16) -> Self {
        assert!(!order.is_empty() && rx_queues > 0 && tx_queues > 0, "a port needs workers and queues");
        let workers = order.len() as u16;
        Self { order, rx_queues: rx_queues.min(workers), tx_queues: tx_queues.min(workers) }
    }

    /// Number of workers.
    pub fn workers(&self) -> u16 {
        self.order.len() as u16
    }

    /// Number of receive queues, each of which a worker polls.
    pub fn rx_queues(&self) -> u16 {
        self.rx_queues
    }

    /// Number of transmit queues, each of which a worker fills.
    pub fn tx_queues(&self) -> u16 {
        self.tx_queues
    }

    /// True if each worker has a receive and a transmit queue of its own.
    pub fn is_plain(&self) -> bool {
        self.rx_queues.min(self.tx_queues) == self.workers()
    }

    /// Receive queue that a worker polls; None if others hand it its frames.
    pub fn rx_queue(&self, worker: u16) -> Option<u16> {
        self.rank(worker).filter(|rank| *rank < self.rx_queues)
    }

    /// Transmit queue that a worker fills; None if another sends its frames.
    pub fn tx_queue(&self, worker: u16) -> Option<u16> {
        self.rank(worker).filter(|rank| *rank < self.tx_queues)
    }

    /// Worker that polls a receive queue.
    pub fn poller(&self, queue: u16) -> u16 {
        self.order[usize::from(queue)]
    }

    /// Worker whose transmit queue carries the frames of `worker`: another one, if it has none of its own.
    pub fn carrier(&self, worker: u16) -> Option<u16> {
        let without = self.workers() - self.tx_queues;
        let rank = self.rank(worker)?;
        let nth = rank.checked_sub(self.tx_queues)?;
        // Spread over the queues, as evenly as their numbers allow.
        let carrier = usize::from(nth) * usize::from(self.tx_queues) / usize::from(without);
        Some(self.order[carrier])
    }

    /// Workers whose frames `worker` sends besides its own.
    pub fn carried(&self, worker: u16) -> impl Iterator<Item = u16> {
        self.order.iter().copied().filter(move |other| self.carrier(*other) == Some(worker))
    }

    /// Shares of a receive queue, that of the worker that polls it first.
    pub fn shares(&self, queue: u16) -> Vec<Share> {
        let (workers, queues) = (self.order.len(), usize::from(self.rx_queues));
        let own = kept_slots(workers, queues);
        let mut shares = vec![Share { worker: self.poller(queue), slots: own }];
        // The slots that are handed on lie in a row, over all queues; each follower has as long a piece of the row.
        let (handed_on, followers) = (SLOTS - own, workers - queues);
        let (start, end) = (usize::from(queue) * handed_on, usize::from(queue + 1) * handed_on);
        for (nth, worker) in self.order[queues..].iter().enumerate() {
            let bound = |nth: usize| nth * queues * handed_on / followers;
            let piece = bound(nth).max(start)..bound(nth + 1).min(end);
            if !piece.is_empty() {
                shares.push(Share { worker: *worker, slots: piece.len() });
            }
        }
        shares
    }

    /// Workers that `worker` hands a share of its receive queue to.
    pub fn followers(&self, worker: u16) -> Vec<u16> {
        let shares = self.rx_queue(worker).map(|queue| self.shares(queue)).unwrap_or_default();
        shares.iter().skip(1).map(|share| share.worker).collect()
    }

    /// Workers that hand `worker` a share of theirs.
    pub fn distributors(&self, worker: u16) -> Vec<u16> {
        let pollers = &self.order[..usize::from(self.rx_queues)];
        pollers.iter().copied().filter(|poller| self.followers(*poller).contains(&worker)).collect()
    }

    /// Index of a worker in the order.
    fn rank(&self, worker: u16) -> Option<u16> {
        self.order.iter().position(|other| *other == worker).map(|rank| rank as u16)
    }
}

/// Slots of its queue that a worker keeps: as many as leave it the same work as those that it hands the others.
//
// With d the part of STEERING_PART, R queues, W workers and all traffic as 1, a worker that polls keeps s and does
// s + d/R, the others get f each: s + d/R = f and R·s + (W-R)·f = 1, so s = (1 + d)/W - d/R, or R·s of its queue.
fn kept_slots(workers: usize, queues: usize) -> usize {
    let even = SLOTS * queues / workers;
    if queues == workers {
        return SLOTS;
    }
    let kept = ((STEERING_PART + 1) * SLOTS * queues / workers).saturating_sub(SLOTS) / STEERING_PART;
    kept.max(even / LEAST_PART).max(1)
}

impl fmt::Display for QueuePlan {
    /// Writes one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return f.write_str("every worker has a receive and a transmit queue of its own");
        }
        let Self { order, rx_queues, tx_queues } = self;
        let plural = if *tx_queues == 1 { "" } else { "s" };
        write!(f, "{} workers on {rx_queues} receive and {tx_queues} transmit queue{plural}", order.len())?;
        for queue in 0..*rx_queues {
            write!(f, "{} queue {queue}: worker {}", if queue == 0 { ":" } else { "," }, self.poller(queue))?;
            let followers = self.followers(self.poller(queue));
            if !followers.is_empty() {
                write!(f, " sharing with {}", list(&followers))?;
            }
        }
        for worker in &order[usize::from(*tx_queues)..] {
            if let Some(carrier) = self.carrier(*worker) {
                write!(f, "; worker {worker} sends by worker {carrier}")?;
            }
        }
        Ok(())
    }
}

fn list(workers: &[u16]) -> String {
    workers.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ")
}

impl fmt::Debug for QueuePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueuePlan({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(workers: u16, rx_queues: u16, tx_queues: u16) -> QueuePlan {
        QueuePlan::new((0..workers).collect(), rx_queues, tx_queues)
    }

    fn shares(plan: &QueuePlan, queue: u16) -> Vec<(u16, usize)> {
        plan.shares(queue).iter().map(|share| (share.worker, share.slots)).collect()
    }

    #[test]
    fn seven_workers_share_four_queues_by_four_distributors() {
        let plan = plan(7, 4, 4);
        assert_eq!(shares(&plan, 0), [(0, 475), (4, 549)]);
        assert_eq!(shares(&plan, 1), [(1, 475), (4, 183), (5, 366)]);
        assert_eq!(shares(&plan, 2), [(2, 475), (5, 366), (6, 183)]);
        assert_eq!(shares(&plan, 3), [(3, 475), (6, 549)]);
        assert_eq!(plan.distributors(5), [1, 2]);
        assert_eq!([4, 5, 6].map(|worker| plan.carrier(worker)), [Some(0), Some(1), Some(2)]);
        assert_eq!(
            plan.to_string(),
            "7 workers on 4 receive and 4 transmit queues: queue 0: worker 0 sharing with 4, queue 1: worker 1 sharing \
             with 4 and 5, queue 2: worker 2 sharing with 5 and 6, queue 3: worker 3 sharing with 6; worker 4 sends by \
             worker 0; worker 5 sends by worker 1; worker 6 sends by worker 2"
        );
    }

    #[test]
    fn workers_with_queues_of_their_own_share_nothing() {
        let plan = plan(3, 3, 8);
        assert!(plan.is_plain());
        assert_eq!((plan.rx_queues(), plan.tx_queues()), (3, 3));
        assert_eq!(shares(&plan, 2), [(2, SLOTS)]);
        assert_eq!(plan.to_string(), "every worker has a receive and a transmit queue of its own");
    }

    #[test]
    fn queues_go_to_the_first_of_the_order() {
        let plan = QueuePlan::new(vec![2, 0, 1], 1, 2);
        assert_eq!([0, 1, 2].map(|worker| plan.rx_queue(worker)), [None, None, Some(0)]);
        assert_eq!([0, 1, 2].map(|worker| plan.tx_queue(worker)), [Some(1), None, Some(0)]);
        assert_eq!(plan.followers(2), [0, 1]);
        assert_eq!((plan.carrier(1), plan.carrier(0)), (Some(2), None));
    }

    proptest! {
        #[test]
        fn every_worker_has_work_and_every_queue_one_worker(
            (workers, rx_queues, tx_queues, rotation) in (1..=64_u16, 1..=80_u16, 1..=80_u16, 0..64_usize),
        ) {
            let mut order: Vec<u16> = (0..workers).collect();
            order.rotate_left(rotation % usize::from(workers));
            let plan = QueuePlan::new(order, rx_queues, tx_queues);

            let mut pollers: Vec<u16> = (0..plan.rx_queues()).map(|queue| plan.poller(queue)).collect();
            for (queue, poller) in pollers.iter().enumerate() {
                prop_assert_eq!(plan.rx_queue(*poller), Some(queue as u16));
                let shares = plan.shares(queue as u16);
                prop_assert_eq!(shares[0].worker, *poller);
                prop_assert_eq!(shares.iter().map(|share| share.slots).sum::<usize>(), SLOTS);
            }
            pollers.sort_unstable();
            pollers.dedup();
            prop_assert_eq!(pollers.len(), usize::from(plan.rx_queues()));
            for worker in 0..workers {
                prop_assert_eq!(plan.rx_queue(worker).is_none(), !plan.distributors(worker).is_empty());
                // Exactly one way out, by a worker that has a queue.
                prop_assert_eq!(plan.tx_queue(worker).is_none(), plan.carrier(worker).is_some());
                prop_assert!(plan.carrier(worker).is_none_or(|carrier| plan.tx_queue(carrier).is_some()));
            }
            let carried: Vec<usize> = (0..workers)
                .filter(|worker| plan.tx_queue(*worker).is_some())
                .map(|worker| plan.carried(worker).count())
                .collect();
            prop_assert!(carried.iter().max().unwrap() - carried.iter().min().unwrap() <= 1, "{:?}", carried);
        }

        #[test]
        fn work_is_shared_evenly((workers, rx_queues) in (1..=64_u16, 1..=64_u16)) {
            let plan = plan(workers, rx_queues, 1);
            let mut slots = vec![0; usize::from(workers)];
            for share in (0..plan.rx_queues()).flat_map(|queue| plan.shares(queue)) {
                prop_assert!(share.slots > 0);
                slots[usize::from(share.worker)] += share.slots;
            }
            let (pollers, followers) = slots.split_at(usize::from(plan.rx_queues()));
            prop_assert!(pollers.iter().all(|own| *own == pollers[0]));
            if let (Some(most), Some(least)) = (followers.iter().max(), followers.iter().min()) {
                prop_assert!(most - least <= 1);
                // A worker that polls has no more to do than another, and no fewer frames than a part of an even share.
                let even = SLOTS * usize::from(plan.rx_queues()) / usize::from(workers);
                let work = pollers[0] + SLOTS / STEERING_PART;
                prop_assert!(work <= least + 2 || pollers[0] == (even / LEAST_PART).max(1));
                prop_assert!(*most <= even + even / 3 + 2, "{} of {}", most, even);
                prop_assert!(pollers[0] >= even / LEAST_PART);
            }
        }
    }
}
