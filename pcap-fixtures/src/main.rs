//! Makes the captures.

fn main() {}
