//! Model of the screen: all that is shown of a look, in words, before it is drawn.

use guideway::api::overview::{Grid, History, Look, Tone, drops, machine, services};
use guideway::api::visible::plain;

use super::super::amount::{duration, rate};

/// View, which a key of its own brings up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Services and their backends.
    Services,
    /// Drops by reason.
    Drops,
    /// Workers and ports.
    Machine,
}

/// Screen above the lines of the keys.
pub(super) struct Model {
    /// Condition of the appliance, and how good it is.
    pub(super) condition: (String, Tone),
    /// Lines of sums.
    pub(super) totals: [String; 2],
    /// Tables of the view.
    pub(super) grids: Vec<Grid>,
}

impl View {
    pub(super) const ALL: [Self; 3] = [Self::Services, Self::Drops, Self::Machine];

    /// Title behind the key.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Drops => "Drops",
            Self::Machine => "Workers and ports",
        }
    }

    /// Orders of the view's rows; the first is how it begins.
    pub(super) const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Services => services::ORDERS,
            Self::Drops => drops::ORDERS,
            Self::Machine => machine::ORDERS,
        }
    }
}

impl Model {
    /// Model of one view of a look. `silence` says why there is no newer one, and for how many seconds.
    pub(super) fn new(view: View, look: &Look, history: &History, silence: Option<(&str, u64)>) -> Self {
        let grids = match view {
            View::Services => vec![services::grid(look)],
            View::Drops => vec![drops::grid(look, history)],
            View::Machine => machine::grids(look, history).into(),
        };
        Self { condition: condition(look, silence), totals: totals(look, history), grids }
    }
}

fn condition(look: &Look, silence: Option<(&str, u64)>) -> (String, Tone) {
    let condition = &look.status.condition;
    match silence {
        Some((why, seconds)) => {
            let time = duration(seconds);
            (format!("NO ANSWER for {time}, asking again: {}", plain(why)), Tone::Bad)
        }
        None if condition.degraded => (plain(&condition.line()), Tone::Bad),
        None => (condition.line(), Tone::Good),
    }
}

fn totals(look: &Look, history: &History) -> [String; 2] {
    let (rates, conntrack) = (&look.stats.rates, &look.stats.conntrack);
    let [packets, bits, new] =
        [rates.packets_per_sec, rates.bytes_per_sec * 8.0, rates.new_connections_per_sec].map(rate);
    let lost = drops::lost_per_sec(look, history).map_or_else(|| "-".to_owned(), rate);
    let used = match conntrack.capacity {
        0 => String::new(),
        capacity => format!(", {:.1} %", conntrack.entries as f64 / capacity as f64 * 100.0),
    };
    let status = &look.status;
    [
        format!("{packets} packets/s   {bits} bit/s   {new} new connections/s   {lost} lost/s"),
        format!(
            "conntrack {} of {}{used}   up {}   configuration {}   version {}",
            conntrack.entries,
            conntrack.capacity,
            duration(status.uptime_sec),
            status.configuration_generation,
            plain(&status.version)
        ),
    ]
}
