//! `guideway-bench`: measures.

fn main() {}
