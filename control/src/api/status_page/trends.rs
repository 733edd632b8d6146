//! Trends: rates of the last ten minutes, a sample every five seconds, in bounded memory.
//!
//! The appliance's own samples are eleven, which is what a rate needs. These are fewer in time, of the sums and of services
//! alone, and kept before anybody looks: 120 numbers a line, and at most 200 services, are 100 kB.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use guideway_report::markup::Escaped;

use crate::api::amount::rate;
use crate::api::overview::{History, Look, drops};

/// Time between two samples.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// Samples of a trend.
const KEPT: usize = 120;

/// Services that have a trend; further ones are shown without.
const MAX_SERVICES: usize = 200;

/// Height of a drawing, whose width is one less than the samples.
const HEIGHT: f32 = 24.0;

/// Trends of the sums and of services.
#[derive(Debug, Default)]
pub(super) struct Trends {
    pub(super) packets: Trend,
    pub(super) bits: Trend,
    pub(super) new_connections: Trend,
    pub(super) lost: Trend,
    services: BTreeMap<String, Trend>,
}

/// Samples of one rate, the newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Trend(VecDeque<f32>);

impl Trends {
    /// Takes a sample.
    pub(super) fn add(&mut self, look: &Look, history: &History) {
        let rates = look.stats.rates;
        self.packets.add(rates.packets_per_sec);
        self.bits.add(rates.bytes_per_sec * 8.0);
        self.new_connections.add(rates.new_connections_per_sec);
        self.lost.add(drops::lost_per_sec(look, history).unwrap_or_default());
        let now: BTreeMap<&str, f64> = look
            .stats
            .services
            .iter()
            .map(|stats| (&*stats.name, stats.arrivals.rates.packets_per_sec))
            .collect();
        self.services.retain(|name, _| now.contains_key(&**name));
        let mut room = MAX_SERVICES.saturating_sub(self.services.len());
        for (name, rate) in now {
            match self.services.get_mut(name) {
                Some(trend) => trend.add(rate),
                None if room > 0 => {
                    room -= 1;
                    let mut trend = Trend::default();
                    trend.add(rate);
                    self.services.insert(name.to_owned(), trend);
                }
                None => {}
            }
        }
    }

    /// Trend of a service's packets; none of one past the limit.
    pub(super) fn service(&self, name: &str) -> Option<&Trend> {
        self.services.get(name)
    }
}

impl Trend {
    fn add(&mut self, rate: f64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(rate as f32);
    }

    /// Largest sample.
    pub(super) fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f32::max).into()
    }

    /// Draws the trend as an SVG element, the newest sample at the right edge; `of` names the rate.
    pub(super) fn svg(&self, of: &str) -> String {
        let most = self.most();
        let label = format!("{of} over the last 10 minutes, at most {}", rate(most));
        let width = KEPT - 1;
        let mut svg = format!(
            "<svg class=\"spark\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{}\">",
            Escaped(label)
        );
        if self.0.len() > 1 {
            let scale = if most > 0.0 { (HEIGHT - 2.0) / most as f32 } else { 0.0 };
            let first = KEPT - self.0.len();
            let mut points = String::new();
            for (index, sample) in self.0.iter().enumerate() {
                let _ = write!(points, "{},{:.1} ", first + index, HEIGHT - 1.0 - sample * scale);
            }
            let _ = write!(
                svg,
                "<polygon points=\"{first},{HEIGHT} {points}{width},{HEIGHT}\"/><polyline points=\"{}\"/>",
                points.trim_end()
            );
        }
        svg + "</svg>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::overview::sample;

    #[test]
    fn a_trend_keeps_ten_minutes_and_no_more() {
        let mut trend = Trend::default();
        for number in 0..1_000 {
            trend.add(number.into());
        }
        assert_eq!((trend.0.len(), trend.0.capacity() < 2 * KEPT + 16), (KEPT, true));
        assert_eq!(EVERY * KEPT as u32, Duration::from_secs(600));
        assert_eq!(trend.most(), 999.0);
    }

    #[test]
    fn a_line_ends_at_the_right_edge_and_stays_within_its_box() {
        let mut trend = Trend::default();
        assert!(!trend.svg("x").contains("polyline"));
        for rate in [0.0, 50.0, 100.0] {
            trend.add(rate);
        }
        let svg = trend.svg("packets a second of \"web\"");
        assert!(svg.contains("<polyline points=\"117,23.0 118,12.0 119,1.0\"/>"), "{svg}");
        assert!(svg.contains("aria-label=\"packets a second of &quot;web&quot; over"), "{svg}");
        let idle = Trend([0.0, 0.0].into());
        assert!(idle.svg("x").contains("<polyline points=\"118,23.0 119,23.0\"/>"));
    }

    #[test]
    fn services_past_the_limit_and_those_that_are_gone_take_no_memory() {
        let (mut look, history) = sample::followed();
        let one = look.stats.services[0].clone();
        for number in 0..300 {
            let mut more = one.clone();
            more.name = format!("more-{number:03}");
            look.stats.services.push(more);
        }
        let mut trends = Trends::default();
        trends.add(&look, &history);
        assert_eq!(trends.services.len(), MAX_SERVICES);
        look.stats.services.truncate(1);
        trends.add(&look, &history);
        assert_eq!(trends.services.keys().collect::<Vec<_>>(), [&one.name]);
    }
}
