//! Which verdicts a tap records.

use std::error::Error;
use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};

/// A set of verdicts: to forward, and every reason to pass or to drop a packet.
///
/// ```text
/// bit:  0          1 ..               1 + reasons to pass ..
///       forward    reasons to pass    reasons to drop
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapFilter(u64);

const FIRST_PASS: usize = 1;
const FIRST_DROP: usize = FIRST_PASS + PassReason::ALL.len();
const END: usize = FIRST_DROP + DropReason::ALL.len();

const _: () = assert!(END <= u64::BITS as usize, "a verdict is a bit of a u64");

impl TapFilter {
    /// No verdict.
    pub const NONE: Self = Self(0);
    /// Every packet that travels to a backend.
    pub const FORWARD: Self = Self(1);
    /// Every packet that isn't ours.
    pub const PASS: Self = Self::places(FIRST_PASS, FIRST_DROP);
    /// Every packet that ends here.
    pub const DROP: Self = Self::places(FIRST_DROP, END);
    /// Every packet.
    pub const ALL: Self = Self::places(0, END);

    /// This verdict alone.
    pub const fn of(verdict: Verdict) -> Self {
        let place = match verdict {
            Verdict::Forward => 0,
            Verdict::Pass(reason) => FIRST_PASS + reason as usize,
            Verdict::Drop(reason) => FIRST_DROP + reason as usize,
        };
        Self(1 << place)
    }

    /// Whether it holds `verdict`.
    pub const fn contains(self, verdict: Verdict) -> bool {
        self.0 & Self::of(verdict).0 != 0
    }

    /// Whether it holds no verdict.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    const fn places(from: usize, to: usize) -> Self {
        Self((1 << to) - (1 << from))
    }

    /// Every set that a word names, with that word: those of several verdicts first.
    fn words() -> impl Iterator<Item = (&'static str, Self)> {
        let sets =
            [("all", Self::ALL), ("drop", Self::DROP), ("pass", Self::PASS), ("forward", Self::FORWARD)];
        let pass = PassReason::ALL.iter().map(|reason| (reason.as_str(), Self::of(Verdict::Pass(*reason))));
        let drop = DropReason::ALL.iter().map(|reason| (reason.as_str(), Self::of(Verdict::Drop(*reason))));
        sets.into_iter().chain(pass).chain(drop)
    }
}

/// What either of two holds.
impl BitOr for TapFilter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What any of them holds.
impl FromIterator<TapFilter> for TapFilter {
    fn from_iter<I: IntoIterator<Item = Self>>(filters: I) -> Self {
        filters.into_iter().fold(Self::NONE, BitOr::bitor)
    }
}

/// A word that names no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVerdict(pub String);

impl fmt::Display for UnknownVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = TapFilter::words().map(|(word, _)| word).collect();
        write!(f, "`{}` is no verdict; it is one of {}", self.0, known.join(", "))
    }
}

impl Error for UnknownVerdict {}

/// One word: `all`, `drop`, `pass`, `forward`, or that of a reason.
impl FromStr for TapFilter {
    type Err = UnknownVerdict;

    fn from_str(word: &str) -> Result<Self, UnknownVerdict> {
        Self::words()
            .find_map(|(known, filter)| (known == word).then_some(filter))
            .ok_or_else(|| UnknownVerdict(word.to_owned()))
    }
}

/// The fewest words that name what it holds, with `, ` between them; `none` where it holds nothing.
impl fmt::Display for TapFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        let mut words = Vec::new();
        for (word, filter) in Self::words() {
            if left & filter.0 == filter.0 {
                left &= !filter.0;
                words.push(word);
            }
        }
        if words.is_empty() { f.write_str("none") } else { f.write_str(&words.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts() -> Vec<Verdict> {
        let pass = PassReason::ALL.iter().map(|reason| Verdict::Pass(*reason));
        let drop = DropReason::ALL.iter().map(|reason| Verdict::Drop(*reason));
        [Verdict::Forward].into_iter().chain(pass).chain(drop).collect()
    }

    #[test]
    fn a_filter_of_one_verdict_holds_that_one() {
        for one in verdicts() {
            for other in verdicts() {
                assert_eq!(TapFilter::of(one).contains(other), one == other);
            }
        }
    }

    #[test]
    fn every_word_names_its_verdicts() {
        let named = |word: &str| {
            let filter: TapFilter = word.parse().unwrap();
            verdicts().into_iter().filter(|verdict| filter.contains(*verdict)).collect::<Vec<_>>()
        };
        assert_eq!(named("all"), verdicts());
        assert_eq!(named("forward"), [Verdict::Forward]);
        assert_eq!(named("pass").len(), PassReason::ALL.len());
        assert!(named("pass").iter().all(|verdict| matches!(verdict, Verdict::Pass(_))));
        assert_eq!(named("drop").len(), DropReason::ALL.len());
        assert!(named("drop").iter().all(|verdict| matches!(verdict, Verdict::Drop(_))));
        for reason in PassReason::ALL {
            assert_eq!(named(reason.as_str()), [Verdict::Pass(*reason)]);
        }
        for reason in DropReason::ALL {
            assert_eq!(named(reason.as_str()), [Verdict::Drop(*reason)]);
        }
    }

    #[test]
    fn a_word_that_names_nothing_is_told_with_those_that_do() {
        for word in ["", "none", "All", " drop", "drop,pass"] {
            assert_eq!(word.parse::<TapFilter>(), Err(UnknownVerdict(word.to_owned())));
        }
        let message = UnknownVerdict("ttl".to_owned()).to_string();
        assert!(message.starts_with("`ttl` is no verdict; it is one of all, drop, pass, forward, not_ip, "));
        assert!(message.ends_with(", no_headroom"));
    }

    #[test]
    fn filters_add_up() {
        let filter: TapFilter = ["ttl_expired", "not_ip"].iter().map(|word| word.parse().unwrap()).collect();
        assert!(filter.contains(Verdict::Drop(DropReason::TtlExpired)));
        assert!(filter.contains(Verdict::Pass(PassReason::NotIp)));
        assert!(!filter.contains(Verdict::Forward) && !filter.is_empty());
        assert_eq!(TapFilter::FORWARD | TapFilter::PASS | TapFilter::DROP, TapFilter::ALL);
        assert!(TapFilter::NONE.is_empty() && verdicts().iter().all(|v| !TapFilter::NONE.contains(*v)));
    }

    #[test]
    fn a_filter_says_what_it_holds() {
        let filter =
            |words: &[&str]| -> TapFilter { words.iter().map(|word| word.parse().unwrap()).collect() };
        assert_eq!(TapFilter::ALL.to_string(), "all");
        assert_eq!(TapFilter::NONE.to_string(), "none");
        assert_eq!(filter(&["no_headroom", "pass"]).to_string(), "pass, no_headroom");
        assert_eq!(filter(&["forward", "not_ip"]).to_string(), "forward, not_ip");
    }
}
