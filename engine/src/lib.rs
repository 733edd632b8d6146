//! Moves packets: captures, bursts, workers, snapshot publishing.
//!
//! A [`worker`]'s life: it subscribes to the snapshots that the control thread [publishes](publish), and then only polls.
//! Each poll takes the newest snapshot, has the data plane decide a burst of frames, and ages a little of the conntrack
//! table. In a replay the frames are [`mbuf`]s filled from a [`capture`].

pub mod capture;
pub mod mbuf;
pub mod publish;
pub mod worker;
