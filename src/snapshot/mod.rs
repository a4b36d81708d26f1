//! Believe a snapshot or not.
