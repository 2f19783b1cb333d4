//! The `raidhall` command.

fn main() {}
