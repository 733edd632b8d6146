//! Answers without a network: a capture becomes decisions, a flow becomes an explanation, and an export from a cloud
//! becomes a configuration.

pub mod import;
pub mod packed_capture;
pub mod replay;
pub mod report;
pub mod timeline;
