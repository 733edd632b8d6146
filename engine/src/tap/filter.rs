//! Filter of a tap: the set of verdicts that it records.

use std::error::Error;
use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};

/// Set of verdicts: to forward, and every reason to pass or to drop a packet.
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
    /// Set of no verdict.
    pub const NONE: Self = Self(0);
    /// Set of the verdict to forward a packet to a backend.
    pub const FORWARD: Self = Self(1);
    /// Set of all reasons to pass a packet to the appliance itself.
    pub const PASS: Self = Self::bit_range(FIRST_PASS, FIRST_DROP);
    /// Set of all reasons to drop a packet.
    pub const DROP: Self = Self::bit_range(FIRST_DROP, END);
    /// Set of all verdicts.
    pub const ALL: Self = Self::bit_range(0, END);

    /// Set of this verdict alone.
    pub const fn of(verdict: Verdict) -> Self {
        let bit = match verdict {
            Verdict::Forward => 0,
            Verdict::Pass(reason) => FIRST_PASS + reason as usize,
            Verdict::Drop(reason) => FIRST_DROP + reason as usize,
        };
        Self(1 << bit)
    }

    /// True if the set holds `verdict`.
    pub const fn contains(self, verdict: Verdict) -> bool {
        self.0 & Self::of(verdict).0 != 0
    }

    /// True if the set holds no verdict.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    const fn bit_range(from: usize, to: usize) -> Self {
        Self((1 << to) - (1 << from))
    }

    /// Lists every set that a word names, with that word: those of several verdicts first.
    fn words() -> impl Iterator<Item = (&'static str, Self)> {
        let sets =
            [("all", Self::ALL), ("drop", Self::DROP), ("pass", Self::PASS), ("forward", Self::FORWARD)];
        let pass = PassReason::ALL.iter().map(|reason| (reason.as_str(), Self::of(Verdict::Pass(*reason))));
        let drop = DropReason::ALL.iter().map(|reason| (reason.as_str(), Self::of(Verdict::Drop(*reason))));
        sets.into_iter().chain(pass).chain(drop)
    }
}

/// Union of two sets.
impl BitOr for TapFilter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Union of all the sets.
impl FromIterator<TapFilter> for TapFilter {
    fn from_iter<I: IntoIterator<Item = Self>>(filters: I) -> Self {
        filters.into_iter().fold(Self::NONE, BitOr::bitor)
    }
}

/// Error for a word that names no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVerdict(pub String);

impl fmt::Display for UnknownVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = TapFilter::words().map(|(word, _)| word).collect();
        write!(f, "`{}` is no verdict; it is one of {}", self.0, known.join(", "))
    }
}

impl Error for UnknownVerdict {}

/// Parses one word: `all`, `drop`, `pass`, `forward`, or that of a reason.
impl FromStr for TapFilter {
    type Err = UnknownVerdict;

    fn from_str(word: &str) -> Result<Self, UnknownVerdict> {
        Self::words()
            .find_map(|(known, filter)| (known == word).then_some(filter))
            .ok_or_else(|| UnknownVerdict(word.to_owned()))
    }
}

/// Writes the fewest words that name the set, with `, ` between them; `none` if it is empty.
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
        assert!(message.ends_with(", no_network"));
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
