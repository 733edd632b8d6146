//! Questions to the domain name system, asked by a thread of its own: each again once its answer expires, or after a while
//! if it fails. The latest answers are kept for whoever looks at them.

mod lookup;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use guideway_model::config::DnsQuestion;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::net::dns_answer::Answer;
use lookup::ask;

/// Shortest and longest time for which an answer holds, whatever its records say.
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_secs(300);

/// Longest time from a failure to the next try; the first comes after a second, each further one after twice the time.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// Number of questions that are asked at the same time.
const MAX_AT_ONCE: usize = 16;

/// Latest answers, by the spelling of their questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<BTreeMap<String, Result<String, String>>>>);

impl Answers {
    /// The latest answer to a question, or why there is none; [`None`] if it has not been asked to its end.
    pub(super) fn get(&self, question: &str) -> Option<Result<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(question).cloned()
    }

    fn put(&self, question: &DnsQuestion, answer: Result<String, String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(question.to_string(), answer);
    }
}

/// Thread that asks questions until this is dropped.
#[derive(Debug)]
pub(super) struct Asker {
    answers: Answers,
    _stop: oneshot::Sender<Infallible>,
}

impl Asker {
    /// Begins to ask questions; [`None`] if there are none.
    pub(super) fn start(questions: Vec<DnsQuestion>) -> io::Result<Option<Self>> {
        if questions.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answers = Answers::default();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let for_thread = answers.clone();
        thread::Builder::new().name("endpoints-dns".to_owned()).spawn(move || {
            runtime.block_on(async {
                let slots = Arc::new(Semaphore::new(MAX_AT_ONCE));
                let mut askers = JoinSet::new();
                for question in questions {
                    askers.spawn(keep_asking(question, for_thread.clone(), Arc::clone(&slots)));
                }
                // The other end is never sent anything, but dropped.
                drop(stopped.await);
            });
        })?;
        Ok(Some(Self { answers, _stop: stop }))
    }

    /// Answers, as they come.
    pub(super) fn answers(&self) -> Answers {
        self.answers.clone()
    }
}

/// Asks a question again and again.
async fn keep_asking(question: DnsQuestion, answers: Answers, slots: Arc<Semaphore>) {
    let mut failures = 0;
    loop {
        let asked = {
            let _slot = slots.acquire().await.expect("nobody closes the semaphore");
            ask(&question).await
        };
        let wait = match &asked {
            Ok(Answer { ttl, .. }) => {
                failures = 0;
                (*ttl).clamp(MIN_TTL, MAX_TTL)
            }
            Err(_) => {
                failures += 1;
                retry_after(failures)
            }
        };
        answers.put(&question, asked.map(|answer| DnsQuestion::text(&answer.addresses)));
        tokio::time::sleep(wait).await;
    }
}

/// Time from a failure to the next try, where so many have come one after the other.
fn retry_after(failures: u32) -> Duration {
    Duration::from_secs(1 << (failures - 1).min(5)).min(MAX_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_followed_by_longer_waits_up_to_a_limit() {
        let waits: Vec<_> = (1..=8).map(|failures| retry_after(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(retry_after(u32::MAX), MAX_RETRY);
    }
}
