//! Session of whoever looks: view, selection, order, filter and the open question. Actions change it; none waits.

use guideway::api::overview::{Drainable, Grid, Row, Tone};
use guideway::api::request::BackendName;
use guideway::api::view::BackendDrain;
use guideway::api::visible::plain;

use super::super::amount::count;
use super::keys::{Action, Focus};
use super::model::View;

/// Longest filter, in letters.
const MAX_FILTER: usize = 60;

/// State of the screen that keys change.
pub(super) struct Session {
    view: View,
    settings: [Setting; View::ALL.len()],
    focus: Focus,
    question: Option<(Command, Note)>,
    /// Message in the line of the keys, until the next of them is pressed.
    note: Option<Note>,
}

/// Message, and how good it is.
type Note = (String, Tone);

/// Settings of one view.
#[derive(Clone, Default)]
struct Setting {
    order: usize,
    is_reversed: bool,
    filter: String,
    /// Key of the selected row, and its index when it was selected.
    selected: Option<(String, usize)>,
}

/// Command to the appliance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) name: BackendName,
}

/// Verb of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Drains a backend.
    Drain,
    /// Undrains a backend.
    Undrain,
}

/// Consequence of an action outside the session.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// `top` ends.
    Quit,
    /// The screen is drawn anew.
    Redraw,
    /// The appliance is told something.
    Command(Command),
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            view: View::Services,
            settings: std::array::from_fn(|_| Setting::default()),
            focus: Focus::Table,
            question: None,
            note: None,
        }
    }

    pub(super) const fn view(&self) -> View {
        self.view
    }

    pub(super) const fn focus(&self) -> Focus {
        self.focus
    }

    /// Question, or else the message, and its tone; none while nothing is to be said.
    pub(super) fn note(&self) -> Option<(&str, Tone)> {
        let question = self.question.as_ref().map(|(_, question)| question);
        question.or(self.note.as_ref()).map(|(text, tone)| (&**text, *tone))
    }

    pub(super) fn filter(&self) -> &str {
        &self.setting().filter
    }

    /// Order of the rows, in words.
    pub(super) fn order(&self) -> String {
        let Setting { order, is_reversed, .. } = self.setting();
        let reversed = if *is_reversed { ", reversed" } else { "" };
        format!("by {}{reversed}", self.view.orders()[*order])
    }

    /// Tables as the view's filter and order have them.
    pub(super) fn arranged(&self, grids: Vec<Grid>) -> Vec<Grid> {
        let Setting { order, is_reversed, filter, .. } = self.setting();
        let order = self.view.orders()[*order];
        grids.into_iter().map(|grid| grid.filtered(filter).sorted(order, *is_reversed)).collect()
    }

    /// Index of the selected row among all rows of arranged tables; none where there are none.
    pub(super) fn selected(&self, rows: &[&Row]) -> Option<usize> {
        let last = rows.len().checked_sub(1)?;
        Some(match &self.setting().selected {
            None => 0,
            Some((key, index)) => rows.iter().position(|row| row.key == *key).unwrap_or((*index).min(last)),
        })
    }

    /// Does what a key asks for, with the rows that are shown.
    pub(super) fn apply(&mut self, action: Action, rows: &[&Row]) -> Option<Effect> {
        // A message that came behind a question is still to be read.
        if !matches!(action, Action::Redraw | Action::Answer(_)) {
            self.note = None;
        }
        match action {
            Action::Quit => return Some(Effect::Quit),
            Action::Redraw => return Some(Effect::Redraw),
            Action::Show(view) => self.view = view,
            Action::NextView => {
                let index = View::ALL.iter().position(|view| *view == self.view).unwrap_or_default();
                self.view = View::ALL[(index + 1) % View::ALL.len()];
            }
            Action::Move(by) => {
                let index = self.selected(rows).unwrap_or_default();
                self.select(index.saturating_add_signed(by), rows);
            }
            Action::First => self.select(0, rows),
            Action::Last => self.select(usize::MAX, rows),
            Action::NextOrder => {
                let orders = self.view.orders().len();
                let setting = self.setting_mut();
                setting.order = (setting.order + 1) % orders;
            }
            Action::Reverse => self.setting_mut().is_reversed ^= true,
            Action::EditFilter => self.focus = Focus::Filter,
            Action::Add(letter) => {
                let filter = &mut self.setting_mut().filter;
                if filter.chars().count() < MAX_FILTER {
                    filter.push_str(&plain(letter.encode_utf8(&mut [0; 4])));
                }
            }
            Action::Erase => {
                self.setting_mut().filter.pop();
            }
            Action::ClearFilter => {
                self.setting_mut().filter.clear();
                self.focus = Focus::Table;
            }
            Action::Close => self.focus = Focus::Table,
            Action::Drain => self.ask(Verb::Drain, rows),
            Action::Undrain => self.ask(Verb::Undrain, rows),
            Action::Answer(is_yes) => {
                self.focus = Focus::Table;
                let (command, _) = self.question.take().filter(|_| is_yes)?;
                self.say(&format!("{} {} …", command.verb.noun(), command.name), Tone::Plain);
                return Some(Effect::Command(command));
            }
            Action::Help => self.focus = Focus::Help,
        }
        None
    }

    /// Tells what has become of a command.
    pub(super) fn answered(&mut self, command: &Command, answer: Result<BackendDrain, String>) {
        let name = &command.name;
        match (answer, command.verb) {
            (Err(error), verb) => self.say(&format!("{} {name} has failed: {error}", verb.noun()), Tone::Bad),
            (Ok(BackendDrain { backend, remaining }), verb) => {
                let mut text = match (verb, remaining.as_ref()) {
                    (Verb::Undrain, _) => format!("{name} is undrained: new connections may come to it"),
                    (Verb::Drain, None) => format!("{name} is drained"),
                    (Verb::Drain, Some(remaining)) => {
                        let (connections, sessions) = (remaining.connections, remaining.sessions);
                        let connections = count(connections, "connection");
                        format!("{name} is drained: {connections} and {} remain", count(sessions, "session"))
                    }
                };
                let warnings = [backend.warning, remaining.and_then(|remaining| remaining.warning)];
                let warnings: Vec<String> = warnings.into_iter().flatten().collect();
                for warning in &warnings {
                    text += &format!("; warning: {warning}");
                }
                self.say(&text, if warnings.is_empty() { Tone::Good } else { Tone::Warning });
            }
        }
    }

    fn ask(&mut self, verb: Verb, rows: &[&Row]) {
        let selected = self.selected(rows).and_then(|index| rows[index].backend.as_ref());
        let Some(Drainable { name, connections, is_drained, is_last }) = selected else {
            return self.say("select a backend in view 1 first", Tone::Warning);
        };
        let question = match (verb, is_drained) {
            (Verb::Drain, true) => return self.say(&format!("{name} is drained already"), Tone::Warning),
            (Verb::Undrain, false) => {
                return self.say(&format!("{name} is not drained by hand"), Tone::Warning);
            }
            (Verb::Undrain, true) => format!("Undrain {name}, so that new connections may come to it?"),
            (Verb::Drain, false) => {
                let tracked = count(*connections, "tracked connection");
                let (service, last) = (&name.service, is_last.then_some(()));
                let last = last.map(|()| format!(" NOBODY ELSE takes new connections of {service}!"));
                format!("Drain {name}? It keeps {tracked}, and gets no new ones.{}", last.unwrap_or_default())
            }
        };
        let tone = if *is_last && verb == Verb::Drain { Tone::Bad } else { Tone::Warning };
        let command = Command { verb, name: name.clone() };
        self.question = Some((command, (plain(&format!("{question} y/n")), tone)));
        self.focus = Focus::Question;
    }

    fn say(&mut self, text: &str, tone: Tone) {
        self.note = Some((plain(text), tone));
    }

    fn select(&mut self, index: usize, rows: &[&Row]) {
        let Some(last) = rows.len().checked_sub(1) else { return };
        let index = index.min(last);
        self.setting_mut().selected = Some((rows[index].key.clone(), index));
    }

    const fn setting(&self) -> &Setting {
        &self.settings[self.view as usize]
    }

    const fn setting_mut(&mut self) -> &mut Setting {
        &mut self.settings[self.view as usize]
    }
}

impl Verb {
    /// Name of the deed, for messages about it.
    const fn noun(self) -> &'static str {
        match self {
            Self::Drain => "Drain of",
            Self::Undrain => "Undrain of",
        }
    }
}
