//! Moves packets: captures, bursts, workers, snapshot publishing.

pub mod capture;
pub mod mbuf;
pub mod publish;
pub mod worker;
