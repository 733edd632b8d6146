//! Answers without a network: a capture becomes decisions, a flow becomes an explanation.

pub mod explain;
pub mod replay;
pub mod timeline;
