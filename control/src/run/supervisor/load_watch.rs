//! Watch over the workers' shares of the packets: notices when one gets much more than the others.
//!
//! A device keeps a flow on one queue, and so on one worker, and takes a tunnel for one flow. No setting of the appliance
//! spreads it; whoever runs the appliance is to know why one core is full and the others are idle.

use std::time::Duration;

/// Time that packets are counted over.
const SPAN: Duration = Duration::from_secs(1);

/// Packets a second of one worker below which its share does not matter.
const LEAST_RATE: f64 = 10_000.0;

/// Time that one worker has too large a share before that is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time that none has, or that the load is low, before that is told.
const CALM: Duration = Duration::from_secs(10);

/// Shares of the workers, and who has too large a one.
#[derive(Debug)]
pub(super) struct LoadWatch {
    /// Packets of each worker, and the time of the count.
    counted: Option<(Vec<u64>, Duration)>,
    shares: Vec<f64>,
    /// Worker with too large a share now, and the time since which it has it.
    heavy: Option<(usize, Duration)>,
    /// Worker that was told of last.
    told: Option<usize>,
    calm_since: Option<Duration>,
}

/// News of the workers' shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum News {
    /// Worker gets much more than an even share, for several seconds.
    Uneven {
        /// Number of the worker.
        worker: usize,
        /// Share of the packets that it gets.
        share: f64,
        /// Packets a second that it gets.
        rate: f64,
    },
    /// No worker does any more.
    Even,
}

impl LoadWatch {
    pub(super) fn new() -> Self {
        Self { counted: None, shares: Vec::new(), heavy: None, told: None, calm_since: None }
    }

    /// Takes in the number of packets that each worker has received since its start.
    pub(super) fn look(&mut self, packets: Vec<u64>, now: Duration) -> Option<News> {
        let (before, since) = match &self.counted {
            Some((_, at)) if now.saturating_sub(*at) < SPAN => return None,
            Some((before, at)) if before.len() == packets.len() => (before, *at),
            _ => {
                self.counted = Some((packets, now));
                return None;
            }
        };
        let seconds = (now - since).as_secs_f64();
        let received: Vec<u64> =
            packets.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect();
        let all = received.iter().sum::<u64>();
        self.shares = received.iter().map(|own| *own as f64 / all.max(1) as f64).collect();
        self.counted = Some((packets, now));

        let most = received.iter().enumerate().max_by_key(|(_, own)| **own);
        let heavy = most.map(|(worker, own)| (worker, *own as f64 / seconds)).filter(|(worker, rate)| {
            *rate >= LEAST_RATE && self.shares[*worker] > too_large(self.shares.len())
        });
        let Some((worker, rate)) = heavy else { return self.calm(since, now) };
        self.calm_since = None;
        let (_, began) =
            *self.heavy.insert(self.heavy.filter(|heavy| heavy.0 == worker).unwrap_or((worker, since)));
        if now - began < PATIENCE || self.told == Some(worker) {
            return None;
        }
        self.told = Some(worker);
        Some(News::Uneven { worker, share: self.shares[worker], rate })
    }

    /// Takes in that no worker had too large a share from `since` to `now`.
    fn calm(&mut self, since: Duration, now: Duration) -> Option<News> {
        self.heavy = None;
        self.told?;
        let began = *self.calm_since.get_or_insert(since);
        if now - began < CALM {
            return None;
        }
        (self.told, self.calm_since) = (None, None);
        Some(News::Even)
    }

    /// Share of the packets that a worker has received of late; 0 if none has come.
    pub(super) fn share(&self, worker: usize) -> f64 {
        self.shares.get(worker).copied().unwrap_or(0.0)
    }
}

/// Share of one of so many workers above which it is too large: twice an even one, or half of the way from there to all, where
/// two or three workers share.
fn too_large(workers: usize) -> f64 {
    let even = 1.0 / workers as f64;
    (2.0 * even).min((1.0 + even) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets packets come in at these rates a second of each worker, one row for a number of seconds; returns the news with their
    /// seconds.
    fn watched(phases: &[(u64, &[u64])]) -> Vec<(u64, News)> {
        let mut watch = LoadWatch::new();
        let mut packets = vec![0; phases[0].1.len()];
        let (mut news, mut millis) = (Vec::new(), 0);
        for (seconds, rates) in phases {
            for _ in 0..seconds * 10 {
                news.extend(
                    watch.look(packets.clone(), Duration::from_millis(millis)).map(|n| (millis / 1000, n)),
                );
                millis += 100;
                packets.iter_mut().zip(*rates).for_each(|(packets, rate)| *packets += rate / 10);
            }
        }
        news
    }

    #[test]
    fn a_worker_with_more_than_twice_its_share_is_told_once_and_so_is_the_end() {
        let heavy: &[u64] = &[10_000, 10_000, 70_000, 10_000];
        let even: &[u64] = &[50_000; 4];
        let news = watched(&[(3, even), (20, heavy), (30, even), (4, heavy), (20, even)]);
        let [(told, News::Uneven { worker: 2, share, rate }), (ended, News::Even)] = news[..] else {
            panic!("{news:?}")
        };
        assert!((7..=9).contains(&told) && (33..=35).contains(&ended), "{told} {ended}");
        assert!((share - 0.7).abs() < 0.01 && (rate - 70_000.0).abs() < 1.0, "{share} {rate}");
    }

    #[test]
    fn little_traffic_and_shares_below_twice_an_even_one_are_nobodys_concern() {
        assert_eq!(watched(&[(60, &[0, 0, 9_000, 0])]), [], "few packets");
        assert_eq!(watched(&[(60, &[30_000, 30_000, 90_000, 50_000])]), [], "45 % of four");
        assert_eq!(watched(&[(60, &[70_000, 30_000])]), [], "70 % of two");
        assert_eq!(watched(&[(60, &[0; 3])]), []);
        assert_eq!(watched(&[(60, &[1_000_000])]), [], "all of one");
    }

    #[test]
    fn most_of_two_or_three_workers_is_told() {
        assert_eq!(watched(&[(60, &[80_000, 20_000])]).len(), 1);
        assert_eq!(watched(&[(60, &[70_000, 20_000, 10_000])]).len(), 1);
    }

    #[test]
    fn a_short_rush_is_not_told_and_another_worker_is() {
        assert_eq!(watched(&[(4, &[0, 0, 0, 90_000]), (4, &[0, 0, 90_000, 0]), (4, &[9_000; 4])]), []);
        let news = watched(&[(20, &[0, 0, 0, 90_000]), (20, &[0, 90_000, 0, 0])]);
        let workers: Vec<_> = news
            .iter()
            .map(|(_, news)| match news {
                News::Uneven { worker, .. } => *worker,
                News::Even => usize::MAX,
            })
            .collect();
        assert_eq!(workers, [3, 1]);
    }

    #[test]
    fn load_that_goes_away_ends_it_and_shares_are_those_of_late() {
        let news = watched(&[(20, &[0, 90_000, 0, 0]), (20, &[0; 4])]);
        assert!(matches!(news[..], [(_, News::Uneven { worker: 1, .. }), (_, News::Even)]), "{news:?}");

        let mut watch = LoadWatch::new();
        for (second, packets) in [(0, [0, 0]), (1, [300, 100]), (2, [400, 400])] {
            watch.look(packets.to_vec(), Duration::from_secs(second));
        }
        assert_eq!([0, 1, 2].map(|worker| watch.share(worker)), [0.25, 0.75, 0.0]);
    }
}
