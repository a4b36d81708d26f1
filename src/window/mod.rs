//! Events and marks become rows.
