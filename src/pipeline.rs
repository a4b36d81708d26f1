//! Owns the pure stages.
