//! The binary: arguments, logging, exit codes, signals.

fn main() {}
