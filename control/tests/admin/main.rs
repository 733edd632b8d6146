//! The admin interface between the verbs and a supervisor that plays a script.

mod api;
mod capture;
mod documentation;
mod metrics;
mod sample;
mod socket;
mod supervisor;
mod transcript;
mod verbs;
