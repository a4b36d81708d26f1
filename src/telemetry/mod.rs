//! The exporter's own counters and histograms.
