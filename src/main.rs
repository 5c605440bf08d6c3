//! Flags and subcommands.

fn main() {}
