//! A simulated organisation that knows the truth.
