//! Budget of the spelling: bounds on its time and its memory, which all networks share.

use std::ops::{AddAssign, SubAssign};

/// Prefixes that the lists may look at for one family, in all: about a second's work. Cases beyond, as of thousands of rules with
/// ranges of clients for one port, are left to the lists.
const WORK: usize = 20_000_000;

/// Cells of one family. Destinations beyond, as of prefixes with hundreds of ports and thousands of VIPs in them, are left to
/// the lists.
const CELLS: usize = 1 << 20;

/// Budget of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FamilyBudget {
    /// Prefixes that the lists may look at.
    pub(super) work: usize,
    /// Cells that there is room for.
    pub(super) cells: usize,
}

/// Budget of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forwarding_rule) struct Budget {
    pub(super) ipv4: FamilyBudget,
    pub(super) ipv6: FamilyBudget,
}

impl Budget {
    /// Budget of a snapshot, however many networks there are.
    pub(in crate::forwarding_rule) const WHOLE: Self =
        Self { ipv4: FamilyBudget::WHOLE, ipv6: FamilyBudget::WHOLE };

    /// Equal share of the budget for one of so many, at least one.
    pub(in crate::forwarding_rule) fn share(self, of: usize) -> Self {
        let share = |family: FamilyBudget| FamilyBudget { work: family.work / of, cells: family.cells / of };
        Self { ipv4: share(self.ipv4), ipv6: share(self.ipv6) }
    }
}

impl FamilyBudget {
    const WHOLE: Self = Self { work: WORK, cells: CELLS };
}

impl AddAssign for Budget {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in [(&mut self.ipv4, other.ipv4), (&mut self.ipv6, other.ipv6)] {
            own.work += other.work;
            own.cells += other.cells;
        }
    }
}

impl SubAssign for Budget {
    fn sub_assign(&mut self, other: Self) {
        for (own, other) in [(&mut self.ipv4, other.ipv4), (&mut self.ipv6, other.ipv6)] {
            own.work -= other.work;
            own.cells -= other.cells;
        }
    }
}
