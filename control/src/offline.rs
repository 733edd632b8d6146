//! Answers without a network: a capture becomes decisions, a flow becomes an explanation, and an export from a cloud
//! becomes a configuration.

pub mod explain;
pub mod import;
pub mod replay;
pub mod report;
pub mod timeline;
