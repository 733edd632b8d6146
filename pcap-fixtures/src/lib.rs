//! Makes the captures and the packets in them.
//!
//! Nothing here uses the data plane: the packets, those that go in and those that must come out, are written byte by
//! byte from their specifications, so that a test that compares the two compares two readings of the RFCs, not one
//! with itself.

pub mod capture;
pub mod configuration;
pub mod delivery;
pub mod delivery_mode;
pub mod demo;
pub mod fixture;
pub mod packet;
pub mod readme;
pub mod scenarios;
