//! Claims about the MAC address of a neighbour, and those to another one than the known.

use std::time::Duration;

use guideway_dataplane::wire::ethernet::MacAddress;

use super::RETRANSMIT;

/// Questions to the known MAC address before another one's claim holds: one answer may be lost.
pub(super) const QUESTIONS_BEFORE_CLAIM: u32 = 2;

/// Wait for the answer to each of these questions. The claim of a machine that has moved holds after a second of silence.
pub(super) const CLAIM_WAIT: Duration = RETRANSMIT.checked_div(QUESTIONS_BEFORE_CLAIM).unwrap();

/// A message's claim about a neighbour's MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net::host_stack) struct Claim {
    pub(in crate::net::host_stack) mac: Option<MacAddress>,
    /// True if the message answers a question of the appliance's, so both directions work.
    pub(in crate::net::host_stack) solicited: bool,
    /// True if the claim replaces another MAC address.
    pub(in crate::net::host_stack) overrides: bool,
}

/// Effect of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net::host_stack) enum Heard {
    /// Neighbour that is not watched.
    Stranger,
    /// The neighbour is watched.
    Watched,
    /// The known MAC address answers, so that the claim to another one is refused.
    Refused,
}

/// A claim that waits for the word of the known MAC address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) mac: MacAddress,
    /// Questions that the known MAC address has been asked about it.
    pub(super) asked: u32,
}

/// Claims to a watched neighbour's address that were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedClaims {
    /// The MAC address that was claimed last.
    pub claimed: MacAddress,
    /// The MAC address that has answered, and stays.
    pub known: MacAddress,
    /// Number of refusals.
    pub count: u64,
}
