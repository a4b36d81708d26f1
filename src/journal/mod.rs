//! Keeps events until they are stored.
