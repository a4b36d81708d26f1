//! The proof that nothing is lost: the same two hours, with and without trouble, give the same
//! tables, byte for byte.
//!
//! The hours pass in virtual time, so the pipeline sees the same answers in every run; all that
//! keeps and moves what it finds is real: journal, relay, broker, aggregators, databases, and
//! processes that are killed. A run without trouble, in one process with one file, is the measure.

mod embedded; // a process that dies at each point, and takes up where it was
mod life; //     a process that polls, from one death to the next
mod nats; //     broker, aggregators and database, each in its trouble
mod parts; //    what such a run is made of
mod points; //   an aggregator that dies at each point
mod poller; //   the pipeline in virtual time
mod tables; //   what is compared, and what is not and why
