//! When to ask what.
