//! `guideway top`: the running appliance on one screen, which follows it.

mod keys;
mod look;
mod model;
#[cfg(test)]
mod picture;
#[cfg(test)]
mod sample;
mod screen;
mod session;
mod terminal;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as Arguments;
use guideway::api::admin::client::{Client, ClientError};
use guideway::api::overview::{Grid, History, Look, Row};
use guideway::api::view::BackendDrain;
use ratatui::crossterm::event::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::appliance::{SocketArgs, failed};
use super::{Color, Exit, Output};
use model::Model;
use screen::Palette;
use session::{Command, Effect, Session, Verb};
use terminal::Terminal;

/// Time after which an appliance that has not answered is said to be silent, at the least.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    socket: SocketArgs,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    interval: u32,
}

pub(super) fn run(args: &Args, color: Color) -> Exit {
    if let Some(why) = terminal::fault() {
        return refused(why);
    }
    let has_colors = match color {
        Color::Auto => terminal::has_colors(),
        Color::Always => true,
        Color::Never => false,
    };
    args.socket.talk(async |client| {
        // A wrong socket is told at once, as by every verb; an appliance that is lost later is waited for.
        let first = match look::at(&client).await {
            Ok(look) => look,
            Err(error) => return failed(&error, Output::Table),
        };
        let terminal = match Terminal::open() {
            Ok(terminal) => terminal,
            Err(error) => return refused(&format!("the terminal cannot be set up: {error}")),
        };
        ratatui::crossterm::style::force_color_output(has_colors);
        let every = Duration::from_secs(args.interval.into());
        match Top::new(client, first, every, Palette { has_colors }).follow(terminal).await {
            Ok(()) => Exit::Success,
            Err(error) => {
                complain!("error: the terminal is lost: {error}");
                Exit::Failure
            }
        }
    })
}

/// Tells why there is no screen, and what shows the same without one.
fn refused(why: &str) -> Exit {
    complain!(
        "error: {why}\n  `top` needs a terminal; without one, `guideway service list --watch SECONDS`, `backend list`, `rule list`, \
         `drops`, `stats` and `status` show tables again and again"
    );
    Exit::Failure
}

/// Appliance that is followed, and the session of whoever follows it.
struct Top {
    client: Client,
    every: Duration,
    palette: Palette,
    begun: Instant,
    look: Look,
    looked_at: Instant,
    history: History,
    /// Error of the latest question; none where it was answered.
    error: Option<String>,
    session: Session,
}

impl Top {
    fn new(client: Client, look: Look, every: Duration, palette: Palette) -> Self {
        let now = Instant::now();
        let mut history = History::default();
        history.add(&look, Duration::ZERO);
        Self {
            client,
            every,
            palette,
            begun: now,
            look,
            looked_at: now,
            history,
            error: None,
            session: Session::new(),
        }
    }

    /// Shows the appliance until somebody quits or the process is told to end; then the terminal is given back.
    async fn follow(mut self, mut terminal: Terminal) -> io::Result<()> {
        let mut ends = Ends::new()?;
        let mut events = terminal::events();
        let look_now = Arc::new(Notify::new());
        let mut looks = looks(self.client.clone(), self.every, Arc::clone(&look_now));
        let mut commands = JoinSet::new();
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            let (model, palette) = (self.model(), self.palette);
            terminal.draw(|frame| screen::draw(frame, &model, &self.session, palette))?;
            tokio::select! {
                () = ends.one() => return Ok(()),
                event = events.recv() => match event {
                    Some(event) => match self.take(&event, &model.grids) {
                        Some(Effect::Quit) => return Ok(()),
                        Some(Effect::Redraw) => terminal.clear()?,
                        Some(Effect::Command(command)) => {
                            commands.spawn(carry_out(self.client.clone(), command));
                        }
                        None => {}
                    },
                    None => return Err(io::Error::other("no keys come from it any more")),
                },
                look = looks.recv() => match look {
                    Some(look) => self.see(look),
                    None => return Err(io::Error::other("nobody asks the appliance any more")),
                },
                Some(done) = commands.join_next() => {
                    let (command, answer) = done.map_err(io::Error::other)?;
                    self.session.answered(&command, answer.map_err(|error| error.to_string()));
                    look_now.notify_one();
                },
                _ = seconds.tick() => {}
            }
        }
    }

    /// Model of what is to be drawn now.
    fn model(&self) -> Model {
        let silent = self.looked_at.elapsed();
        let is_late = silent >= PATIENCE.max(self.every * 3);
        let late = is_late.then_some("the appliance takes long to answer");
        let why = self.error.as_deref().or(late);
        let silence = why.map(|why| (why, silent.as_secs()));
        let mut model = Model::new(self.session.view(), &self.look, &self.history, silence);
        model.grids = self.session.arranged(model.grids);
        model
    }

    fn see(&mut self, look: Result<Look, ClientError>) {
        match look {
            Ok(look) => {
                self.history.add(&look, self.begun.elapsed());
                (self.look, self.looked_at, self.error) = (look, Instant::now(), None);
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    fn take(&mut self, event: &Event, grids: &[Grid]) -> Option<Effect> {
        let Event::Key(key) = event else { return None };
        let action = keys::action(self.session.focus(), *key)?;
        let rows: Vec<&Row> = grids.iter().flat_map(Grid::lines).map(|(_, row)| row).collect();
        self.session.apply(action, &rows)
    }
}

/// Signals that end the process.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    /// Waits for one of them.
    async fn one(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Asks the appliance again and again, and at once when it is told to.
fn looks(client: Client, every: Duration, now: Arc<Notify>) -> mpsc::Receiver<Result<Look, ClientError>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once, and that look is there already.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = now.notified() => {}
            }
            if sender.send(look::at(&client).await).await.is_err() {
                break;
            }
        }
    });
    receiver
}

/// Drains or undrains a backend, and counts what remains on a drained one.
async fn carry_out(client: Client, command: Command) -> (Command, Result<BackendDrain, ClientError>) {
    let (service, name) = (&command.name.service, &command.name.backend);
    let answer = match command.verb {
        Verb::Drain => client.backend_drain(service, name, None).await,
        Verb::Undrain => client.backend_undrain(service, name).await,
    };
    let answer = match (answer, command.verb) {
        (Ok(backend), Verb::Drain) => {
            let remaining = client.backend_remaining(service, name).await.ok();
            Ok(BackendDrain { backend, remaining })
        }
        (Ok(backend), Verb::Undrain) => Ok(BackendDrain { backend, remaining: None }),
        (Err(error), _) => Err(error),
    };
    (command, answer)
}
