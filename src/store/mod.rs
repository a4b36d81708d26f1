//! Rows in a database.
