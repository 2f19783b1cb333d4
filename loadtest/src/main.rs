//! Simulated players for Raidhall.

fn main() {}
