//! The admin interface between the verbs and a supervisor that plays a script.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod api;
mod capture;
mod documentation;
mod metrics;
mod monitoring;
mod pipes;
mod planned;
mod sample;
mod socket;
mod status_page;
mod supervisor;
mod top;
mod traced;
mod transcript;
mod verbs;
