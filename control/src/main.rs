//! The `guideway` binary.

fn main() {}
