//! The configuration as it is written: the tables of the file, the kinds of value that their keys can hold, and how
//! TOML is read into them.

pub(super) mod choice;
pub(super) mod dns_name;
pub(super) mod dns_server;
pub(super) mod field;
pub(super) mod file;
pub(super) mod google_key;
pub(super) mod group_name;
pub(super) mod lengths;
pub(super) mod one_or_more;
pub(super) mod value;
pub(super) mod vip_range;
