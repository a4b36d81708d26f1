//! Executes effects; decides nothing.
