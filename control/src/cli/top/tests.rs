//! Tests of the whole screen: what is drawn of a look, and what keys do to it.

use std::fmt::Write;

use guideway::api::overview::{Grid, History, Look, Row};
use guideway::api::request::BackendName;
use guideway::api::view::{BackendDrain, Remaining};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::keys::action;
use super::model::Model;
use super::picture::assert_picture;
use super::sample;
use super::screen::{Palette, draw};
use super::session::{Command, Effect, Session, Verb};

/// Screen with a session in front of it.
struct Desk {
    look: Look,
    history: History,
    session: Session,
}

impl Desk {
    fn new() -> Self {
        let (look, history) = sample::followed();
        Self { look, history, session: Session::new() }
    }

    /// Desk after these keys.
    fn after(keys: &str) -> Self {
        let mut desk = Self::new();
        assert!(desk.press(keys).iter().all(Option::is_none), "{keys}");
        desk
    }

    fn model(&self, silence: Option<(&str, u64)>) -> Model {
        let mut model = Model::new(self.session.view(), &self.look, &self.history, silence);
        model.grids = self.session.arranged(model.grids);
        model
    }

    /// Presses keys; `\n` is Enter, `\x1b` Esc, `\x08` Backspace.
    fn press(&mut self, keys: &str) -> Vec<Option<Effect>> {
        let press = |letter| {
            let code = match letter {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                letter => KeyCode::Char(letter),
            };
            let key = KeyEvent::new(code, KeyModifiers::NONE);
            let asked = action(self.session.focus(), key)?;
            let grids = self.model(None).grids;
            let rows: Vec<&Row> = grids.iter().flat_map(Grid::lines).map(|(_, row)| row).collect();
            self.session.apply(asked, &rows)
        };
        keys.chars().map(press).collect()
    }

    fn draw(&self, size: (u16, u16), has_colors: bool, silence: Option<(&str, u64)>) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let model = self.model(silence);
        let palette = Palette { has_colors };
        terminal.draw(|frame| draw(frame, &model, &self.session, palette)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(&self, size: (u16, u16)) -> String {
        text(&self.draw(size, false, None))
    }
}

const SMALL: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (140, 40);

/// Letters of a screen.
fn text(buffer: &Buffer) -> String {
    marked(buffer, |_| String::new())
}

/// Letters of a screen, with a mark wherever the style changes.
fn marked(buffer: &Buffer, mark: impl Fn(&ratatui::buffer::Cell) -> String) -> String {
    let mut text = String::new();
    for line in 0..buffer.area.height {
        let (mut row, mut now) = (String::new(), String::new());
        for column in 0..buffer.area.width {
            let cell = &buffer[(column, line)];
            let style = mark(cell);
            if style != now {
                let _ = write!(row, "{{{style}}}");
                now = style;
            }
            row += cell.symbol();
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

/// Style of a cell in words; nothing where it is plain.
fn style(cell: &ratatui::buffer::Cell) -> String {
    let color = (cell.fg != Color::Reset).then(|| format!("{:?}", cell.fg).to_lowercase());
    let modifiers =
        [(Modifier::BOLD, "bold"), (Modifier::UNDERLINED, "underlined"), (Modifier::REVERSED, "reversed")];
    let modifiers = modifiers.iter().filter(|(modifier, _)| cell.modifier.contains(*modifier));
    color.into_iter().chain(modifiers.map(|(_, word)| (*word).to_owned())).collect::<Vec<_>>().join(" ")
}

#[test]
fn services_and_backends_in_the_smallest_terminal() {
    insta::assert_snapshot!(marked(&Desk::new().draw(SMALL, false, None), style));
}

#[test]
fn services_and_backends_in_the_smallest_terminal_with_colors() {
    insta::assert_snapshot!(marked(&Desk::new().draw(SMALL, true, None), style));
}

#[test]
fn services_and_backends_in_a_wide_terminal() {
    insta::assert_snapshot!(marked(&Desk::new().draw(WIDE, false, None), style));
}

#[test]
fn services_and_backends_in_a_wide_terminal_with_colors() {
    insta::assert_snapshot!(marked(&Desk::new().draw(WIDE, true, None), style));
}

#[test]
fn pictures_of_the_documents() {
    assert_picture("top.svg", &Desk::after("jjj").draw(SMALL, true, None));
    assert_picture("top-wide.svg", &Desk::after("jjj").draw((150, 22), true, None));
}

#[test]
fn drops_in_both() {
    let desk = Desk::after("2");
    insta::assert_snapshot!(desk.text(SMALL) + &desk.text(WIDE));
}

#[test]
fn workers_and_ports_in_both() {
    let desk = Desk::after("3");
    insta::assert_snapshot!(desk.text(SMALL) + &desk.text(WIDE));
}

#[test]
fn the_help_is_above_the_rest() {
    insta::assert_snapshot!(Desk::after("?").text(SMALL));
}

#[test]
fn an_appliance_that_is_lost_is_said_first_and_the_last_look_stays() {
    let why = "nobody answers on /run/guideway/admin.sock: is guideway running? `--socket` names another";
    insta::assert_snapshot!(text(&Desk::new().draw(SMALL, false, Some((why, 12)))));
}

#[test]
fn colors_say_nothing_alone() {
    for keys in ["", "2", "3", "?", "jjjd", "/web"] {
        for size in [SMALL, WIDE] {
            let desk = Desk::after(keys);
            let [plain, colored] = [false, true].map(|has_colors| desk.draw(size, has_colors, None));
            assert_eq!(text(&plain), text(&colored), "{keys}");
            assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        }
    }
    let colored = Desk::new().draw(SMALL, true, None);
    assert!(colored.content.iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn an_appliance_that_is_well_is_ok() {
    let mut desk = Desk::new();
    desk.look.status.condition = guideway::api::view::Condition::default();
    assert!(desk.text(SMALL).starts_with("OK\n"));
    desk.look.drops.drops.clear();
    desk.press("2");
    assert!(desk.text(SMALL).contains("no packet was lost"), "{}", desk.text(SMALL));
}

#[test]
fn text_from_outside_sends_no_control_characters() {
    let evil = "\x1b]0;title\x07\u{9b}2J\u{202e}x\r\n";
    let mut desk = Desk::new();
    desk.look.status.condition.degraded = true;
    desk.look.status.condition.reasons = vec![evil.to_owned()];
    desk.look.status.version = evil.to_owned();
    desk.look.status.services[1].name = evil.to_owned();
    for backend in desk.look.backends.iter_mut().skip(1) {
        (backend.service, backend.name) = (evil.to_owned(), format!("{evil}{}", backend.address));
        backend.warning = Some(evil.to_owned());
    }
    for port in &mut desk.look.status.ports {
        (port.name, port.device) = (evil.to_owned(), evil.to_owned());
    }
    for row in &mut desk.look.drops.drops {
        (row.reason, row.meaning, row.help) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
    }
    for keys in ["", "2", "3", "1jjjd", "n/\x1b"] {
        desk.press(keys);
        for silence in [None, Some((evil, 3))] {
            let buffer = desk.draw(WIDE, false, silence);
            let text = text(&buffer);
            let is_evil = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
            assert!(!text.contains(is_evil), "{text:?}");
            assert!(text.contains(r"\u{1b}"), "{text}");
        }
    }
    let command = Command {
        verb: Verb::Drain,
        name: BackendName { service: evil.to_owned(), backend: evil.to_owned() },
    };
    desk.session.answered(&command, Err(evil.to_owned()));
    assert!(desk.session.note().is_some_and(|(note, _)| !note.contains(char::is_control)));
}

#[test]
fn any_size_is_drawn() {
    for keys in ["", "2", "3", "?", "jjjd", "/web"] {
        let desk = Desk::after(keys);
        for columns in [1, 2, 5, 20, 79, 81, 400] {
            for rows in [1, 2, 3, 7, 15, 16, 25, 100] {
                let _ = desk.draw((columns, rows), true, Some(("gone", 1)));
            }
        }
    }
}

#[test]
fn the_selected_row_is_always_shown() {
    let mut desk = Desk::new();
    let one = desk.look.backends[1].clone();
    for number in 10..90 {
        let mut more = one.clone();
        more.name = format!("more-{number}");
        desk.look.backends.push(more);
    }
    desk.press("G");
    assert!(desk.text(SMALL).contains("\n>  web-3 "), "{}", desk.text(SMALL));
    assert!(!desk.text(SMALL).contains("firewall  "), "{}", desk.text(SMALL));
    desk.press("g");
    assert!(desk.text(SMALL).contains("\n>firewall "), "{}", desk.text(SMALL));
}

#[test]
fn a_long_name_is_cut_and_says_so() {
    let mut desk = Desk::new();
    desk.look.backends[1].name = "web-".to_owned() + &"1234567890".repeat(6);
    let text = desk.text(SMALL);
    assert!(text.contains("\n   web-12345678") && text.contains("… healthy "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_selection_follows_its_row() {
    let mut desk = Desk::after("jjj");
    let name = |desk: &Desk| {
        let grids = desk.model(None).grids;
        let rows: Vec<&Row> = grids.iter().flat_map(Grid::lines).map(|(_, row)| row).collect();
        desk.session.selected(&rows).map(|index| rows[index].key.clone())
    };
    assert_eq!(name(&desk).as_deref(), Some("backend web/web-1"));
    desk.press("r");
    assert_eq!(name(&desk).as_deref(), Some("backend web/web-1"));
    // The selected row is gone: the one at its index is selected, or the last.
    desk.press("r");
    desk.look.backends.retain(|backend| backend.name != "web-1");
    assert_eq!(name(&desk).as_deref(), Some("backend web/web-2"));
    desk.press("/fire\n");
    assert_eq!(name(&desk).as_deref(), Some("backend firewall/fw-1"));
    desk.press("/\x08\x08\x08\x08zzz\n");
    assert_eq!(name(&desk), None);
    assert!(desk.text(SMALL).contains("nothing passes the filter"));
    assert!(desk.text(SMALL).contains("filter: zzz"));
    desk.press("\x1b");
    assert!(!desk.text(SMALL).contains("filter: zzz"));
}

#[test]
fn orders_go_round_in_each_view_for_itself() {
    let mut desk = Desk::after("s");
    assert_eq!(desk.session.order(), "by state");
    desk.press("2ssr");
    assert_eq!(desk.session.order(), "by reason, reversed");
    desk.press("ss");
    assert_eq!(desk.session.order(), "by rate, reversed");
    desk.press("1ssssss");
    assert_eq!(desk.session.order(), "by name");
}

#[test]
fn a_backend_is_drained_after_yes_alone() {
    let web_1 = || Command {
        verb: Verb::Drain,
        name: BackendName { service: "web".to_owned(), backend: "web-1".to_owned() },
    };
    let mut desk = Desk::after("jjjd");
    let question = "Drain web/web-1? It keeps 7 tracked connections, and gets no new ones. \
                    NOBODY ELSE takes new connections of web! y/n";
    assert_eq!(desk.session.note().map(|(note, _)| note), Some(question));
    // Another selection does not change what was asked.
    assert_eq!(desk.press("jk\n"), [None, None, None]);
    assert_eq!(desk.press("y"), [Some(Effect::Command(web_1()))]);
    assert_eq!(desk.press("y"), [None]);
    let mut desk = Desk::after("jjjdn");
    assert_eq!(desk.session.note(), None);
    assert_eq!(desk.press("y"), [None]);
    let said =
        |keys: &str| Desk::after(keys).session.note().map(|(note, _)| note.to_owned()).unwrap_or_default();
    assert_eq!(said("d"), "select a backend in view 1 first");
    assert_eq!(said("2d"), "select a backend in view 1 first");
    assert_eq!(said("jjjjd"), "web/web-2 is drained already");
    assert_eq!(said("jjju"), "web/web-1 is not drained by hand");
    let mut desk = Desk::after("jjjju");
    let name = BackendName { service: "web".to_owned(), backend: "web-2".to_owned() };
    let undrained = Command { verb: Verb::Undrain, name };
    assert_eq!(desk.press("y"), [Some(Effect::Command(undrained))]);
}

#[test]
fn a_question_stays_until_it_is_answered_and_what_was_said_meanwhile_is_said_then() {
    let mut desk = Desk::after("jjjd");
    let question = desk.session.note().map(|(note, _)| note.to_owned());
    assert!(question.as_ref().is_some_and(|question| question.ends_with("y/n")), "{question:?}");
    let name = BackendName { service: "web".to_owned(), backend: "web-2".to_owned() };
    desk.session.answered(&Command { verb: Verb::Undrain, name }, Err("it is gone".to_owned()));
    desk.session.apply(super::keys::Action::Redraw, &[]);
    assert_eq!(desk.session.note().map(|(note, _)| note.to_owned()), question);
    desk.press("n");
    let said = desk.session.note().map(|(note, _)| note);
    assert_eq!(said, Some("Undrain of web/web-2 has failed: it is gone"));
    desk.press("j");
    assert_eq!(desk.session.note(), None);
}

#[test]
fn the_end_of_a_command_is_told() {
    let mut desk = Desk::new();
    let backend = desk.look.backends[1].clone();
    let name = BackendName { service: "web".to_owned(), backend: "web-1".to_owned() };
    let drain = Command { verb: Verb::Drain, name: name.clone() };
    let undrain = Command { verb: Verb::Undrain, name };
    let remaining = Remaining { connections: 1, sessions: 2, warning: Some("they go on".to_owned()) };
    let done = |remaining| Ok(BackendDrain { backend: backend.clone(), remaining });
    for (command, answer, said) in [
        (&drain, done(None), "web/web-1 is drained"),
        (
            &drain,
            done(Some(remaining)),
            "web/web-1 is drained: 1 connection and 2 sessions remain; warning: they go on",
        ),
        (&undrain, done(None), "web/web-1 is undrained: new connections may come to it"),
        (&drain, Err("no such backend".to_owned()), "Drain of web/web-1 has failed: no such backend"),
    ] {
        desk.session.answered(command, answer);
        assert_eq!(desk.session.note().map(|(note, _)| note), Some(said));
    }
}
