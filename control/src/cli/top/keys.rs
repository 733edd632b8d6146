//! Keys and what each asks for, by what is on the screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::View;

/// Part of the screen that takes the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    /// Table.
    Table,
    /// Line of the filter.
    Filter,
    /// Question that is answered by yes or no.
    Question,
    /// Page of help.
    Help,
}

/// Request of whoever presses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ends `top`.
    Quit,
    /// Draws the screen anew.
    Redraw,
    /// Brings up a view.
    Show(View),
    /// Brings up the view behind this one.
    NextView,
    /// Moves the selection by so many rows, down where it is positive.
    Move(isize),
    /// Moves the selection to the first row.
    First,
    /// Moves the selection to the last row.
    Last,
    /// Sorts by the next column.
    NextOrder,
    /// Reverses the order.
    Reverse,
    /// Begins to write the filter.
    EditFilter,
    /// Adds a letter to the filter.
    Add(char),
    /// Takes the filter's last letter away.
    Erase,
    /// Takes the filter away.
    ClearFilter,
    /// Ends help, or the writing of the filter.
    Close,
    /// Asks if the selected backend is to be drained.
    Drain,
    /// Asks if the selected backend is to be undrained.
    Undrain,
    /// Answers the question: true for yes.
    Answer(bool),
    /// Shows the help.
    Help,
}

/// Rows that a page key moves by.
const PAGE: isize = 10;

/// Lines of the help: key, and what it does.
pub(super) const HELP: [(&str, &str); 12] = [
    ("1 2 3 Tab", "services and backends, drops, workers and ports"),
    ("arrows j k", "select a row; PgUp, PgDn, Home and End too"),
    ("s", "sort by the next column"),
    ("r", "reverse the order"),
    ("/", "filter rows by any column; Enter keeps it, Esc clears it"),
    ("d", "drain the selected backend, after a question: no new connections"),
    ("u", "undrain the selected backend, after a question"),
    ("?", "this help; any key ends it"),
    ("q Ctrl-C", "quit"),
    ("DUE SHARE", "share by weight, and of the lookup table's slots"),
    ("CONN%", "share of the service's tracked connections"),
    ("WEIGHT", "r: reported, =: equal as one is missing, o: set by hand"),
];

/// Request that a key makes; none where it means nothing here.
pub(super) fn action(focus: Focus, key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('l') => Some(Action::Redraw),
            KeyCode::Char('u') if focus == Focus::Filter => Some(Action::ClearFilter),
            _ => None,
        };
    }
    match focus {
        Focus::Table => in_table(key.code),
        Focus::Filter => in_filter(key.code),
        Focus::Question => in_question(key.code),
        Focus::Help => Some(Action::Close),
    }
}

fn in_table(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('1') => Action::Show(View::Services),
        KeyCode::Char('2') => Action::Show(View::Drops),
        KeyCode::Char('3') => Action::Show(View::Machine),
        KeyCode::Tab => Action::NextView,
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::PageDown => Action::Move(PAGE),
        KeyCode::PageUp => Action::Move(-PAGE),
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Char('s') => Action::NextOrder,
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('/') => Action::EditFilter,
        KeyCode::Esc => Action::ClearFilter,
        KeyCode::Char('d') => Action::Drain,
        KeyCode::Char('u') => Action::Undrain,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        _ => return None,
    })
}

fn in_filter(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Enter => Action::Close,
        KeyCode::Esc => Action::ClearFilter,
        KeyCode::Backspace => Action::Erase,
        KeyCode::Down => Action::Move(1),
        KeyCode::Up => Action::Move(-1),
        KeyCode::Char(letter) => Action::Add(letter),
        _ => return None,
    })
}

/// Enter is no answer: whoever has typed ahead must not drain a backend by it.
const fn in_question(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('y' | 'Y') => Some(Action::Answer(true)),
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Some(Action::Answer(false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_asks_for_one_thing_by_what_is_on_the_screen() {
        use Focus::{Filter, Help, Question, Table};
        let (plain, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for (focus, code, modifiers, expected) in [
            (Table, KeyCode::Char('q'), plain, Some(Action::Quit)),
            (Table, KeyCode::Char('c'), control, Some(Action::Quit)),
            (Table, KeyCode::Char('c'), plain, None),
            (Table, KeyCode::Char('l'), control, Some(Action::Redraw)),
            (Table, KeyCode::Char('1'), plain, Some(Action::Show(View::Services))),
            (Table, KeyCode::Char('2'), plain, Some(Action::Show(View::Drops))),
            (Table, KeyCode::Char('3'), plain, Some(Action::Show(View::Machine))),
            (Table, KeyCode::Tab, plain, Some(Action::NextView)),
            (Table, KeyCode::Down, plain, Some(Action::Move(1))),
            (Table, KeyCode::Char('k'), plain, Some(Action::Move(-1))),
            (Table, KeyCode::PageDown, plain, Some(Action::Move(PAGE))),
            (Table, KeyCode::PageUp, plain, Some(Action::Move(-PAGE))),
            (Table, KeyCode::Home, plain, Some(Action::First)),
            (Table, KeyCode::Char('G'), KeyModifiers::SHIFT, Some(Action::Last)),
            (Table, KeyCode::Char('s'), plain, Some(Action::NextOrder)),
            (Table, KeyCode::Char('r'), plain, Some(Action::Reverse)),
            (Table, KeyCode::Char('/'), plain, Some(Action::EditFilter)),
            (Table, KeyCode::Esc, plain, Some(Action::ClearFilter)),
            (Table, KeyCode::Char('d'), plain, Some(Action::Drain)),
            (Table, KeyCode::Char('d'), control, None),
            (Table, KeyCode::Char('u'), plain, Some(Action::Undrain)),
            (Table, KeyCode::Char('y'), plain, None),
            (Table, KeyCode::Char('?'), KeyModifiers::SHIFT, Some(Action::Help)),
            (Filter, KeyCode::Char('q'), plain, Some(Action::Add('q'))),
            (Filter, KeyCode::Char('d'), plain, Some(Action::Add('d'))),
            (Filter, KeyCode::Char('u'), control, Some(Action::ClearFilter)),
            (Filter, KeyCode::Char('c'), control, Some(Action::Quit)),
            (Filter, KeyCode::Backspace, plain, Some(Action::Erase)),
            (Filter, KeyCode::Enter, plain, Some(Action::Close)),
            (Filter, KeyCode::Esc, plain, Some(Action::ClearFilter)),
            (Question, KeyCode::Char('y'), plain, Some(Action::Answer(true))),
            (Question, KeyCode::Char('n'), plain, Some(Action::Answer(false))),
            (Question, KeyCode::Esc, plain, Some(Action::Answer(false))),
            (Question, KeyCode::Enter, plain, None),
            (Question, KeyCode::Char('d'), plain, None),
            (Question, KeyCode::Char('c'), control, Some(Action::Quit)),
            (Help, KeyCode::Char('q'), plain, Some(Action::Close)),
            (Help, KeyCode::Char('d'), plain, Some(Action::Close)),
            (Help, KeyCode::Char('c'), control, Some(Action::Quit)),
        ] {
            assert_eq!(action(focus, KeyEvent::new(code, modifiers)), expected, "{focus:?}, {code:?}");
        }
    }

    #[test]
    fn a_key_that_is_let_go_asks_for_nothing() {
        let press = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(action(Focus::Table, KeyEvent { kind: KeyEventKind::Release, ..press }), None);
    }
}
