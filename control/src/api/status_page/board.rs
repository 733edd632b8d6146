//! Board: the latest look at the appliance, with the rates that come of those before it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::trends::{EVERY, Trends};
use crate::api::overview::{History, Look};
use crate::api::request::Request;
use crate::api::request_sender::{RequestError, RequestSender};
use crate::api::view::Drops;

/// Age up to which a look is shown again: many who look ask the control thread no more often than one.
const FRESH: Duration = Duration::from_millis(900);

/// Board of the status page, which all who look share.
#[derive(Debug)]
pub(in crate::api) struct Board {
    requests: RequestSender,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    look: Option<(Instant, Look)>,
    history: History,
    trends: Trends,
}

/// Picture of the appliance: all that a page is drawn of.
pub(super) struct Picture<'a> {
    pub(super) look: &'a Look,
    pub(super) history: &'a History,
    pub(super) trends: &'a Trends,
}

impl Board {
    /// Creates a board that asks by `requests`.
    pub(in crate::api) fn new(requests: RequestSender) -> Self {
        Self { requests, begun: Instant::now(), state: Mutex::default() }
    }

    /// Draws the newest picture.
    pub(super) async fn show<T>(&self, draw: impl FnOnce(&Picture<'_>) -> T) -> Result<T, RequestError> {
        let mut state = self.state.lock().await;
        if state.look.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH) {
            let look = self.look().await?;
            state.see(look, self.begun);
        }
        let State { look, history, trends } = &*state;
        let (_, look) = look.as_ref().expect("a look was taken");
        Ok(draw(&Picture { look, history, trends }))
    }

    /// Takes samples until the appliance stops.
    pub(in crate::api) async fn sample(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            match self.add_sample().await {
                Err(RequestError::Stopping) => return,
                // A sample that did not come in time is left out.
                Err(RequestError::Late | RequestError::Refused(_)) | Ok(()) => {}
            }
        }
    }

    async fn add_sample(&self) -> Result<(), RequestError> {
        let mut state = self.state.lock().await;
        if state.look.is_none() {
            state.look = Some((Instant::now(), self.look().await?));
        } else {
            // Rates need the counters alone.
            let stats = self.requests.ask(|reply| Request::Stats { reply }).await?;
            if let Some((_, look)) = &mut state.look {
                (look.drops, look.stats) = (Drops::new(&stats), stats);
            }
        }
        let State { look, history, trends } = &mut *state;
        if let Some((_, look)) = look {
            history.add(look, self.begun.elapsed());
            trends.add(look, history);
        }
        Ok(())
    }

    async fn look(&self) -> Result<Look, RequestError> {
        let status = self.requests.ask(|reply| Request::Status { reply }).await?;
        let stats = self.requests.ask(|reply| Request::Stats { reply }).await?;
        let backends = self.requests.ask(|reply| Request::BackendList { service: None, reply }).await?;
        Ok(Look { status, drops: Drops::new(&stats), stats, backends: backends.backends })
    }
}

impl State {
    fn see(&mut self, look: Look, begun: Instant) {
        self.history.add(&look, begun.elapsed());
        self.look = Some((Instant::now(), look));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::api::overview::sample;
    use crate::api::view::BackendList;

    /// Runs a test with a supervisor that counts the questions for its status and for its counters.
    fn with_supervisor(test: impl AsyncFnOnce(Arc<Board>, &Mutex<[u32; 2]>)) {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let test = async {
            let (requests, mut asked) = mpsc::channel(4);
            let board = Arc::new(Board::new(RequestSender::new(requests)));
            let counts = Mutex::new([0, 0]);
            let supervise = async {
                while let Some(request) = asked.recv().await {
                    let look = sample::look();
                    match request {
                        Request::Status { reply } => {
                            counts.lock().await[0] += 1;
                            drop(reply.send(Ok(look.status)));
                        }
                        Request::Stats { reply } => {
                            counts.lock().await[1] += 1;
                            drop(reply.send(Ok(look.stats)));
                        }
                        Request::BackendList { reply, .. } => {
                            drop(reply.send(Ok(BackendList { backends: look.backends })));
                        }
                        _ => unreachable!("a page asks for nothing else"),
                    }
                }
            };
            tokio::select! {
                () = test(board, &counts) => {}
                () = supervise => {}
            }
        };
        let test = async { timeout(Duration::from_secs(3_600), test).await.expect("an end in time") };
        builder.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn many_who_look_ask_the_supervisor_once() {
        with_supervisor(async |board, counts| {
            for _ in 0..20 {
                board.show(|_| ()).await.unwrap();
            }
            assert_eq!(*counts.lock().await, [1, 1]);
            sleep(FRESH * 2).await;
            board.show(|_| ()).await.unwrap();
            assert_eq!(*counts.lock().await, [2, 2]);
        });
    }

    #[test]
    fn samples_are_taken_while_nobody_looks_and_ask_for_counters_alone() {
        with_supervisor(async |board, counts| {
            let sampled = timeout(Duration::from_secs(61), board.sample()).await;
            assert!(sampled.is_err(), "the appliance goes on");
            assert_eq!(*counts.lock().await, [1, 13]);
            let points = board.show(|picture| picture.trends.packets.svg("x")).await.unwrap();
            assert_eq!(points.split("<polyline").nth(1).unwrap().matches(',').count(), 13, "{points}");
        });
    }
}
