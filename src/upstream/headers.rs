//! Rate and retry headers, judged: pure, total, bounded.
