//! How long things take in virtual time, and what the operating system would tell of the process:
//! a model. Pure, seeded.
//!
//! Everything else in a history is the pipeline's own doing; only the figures made here (latency
//! of the network and the disk, work of the processor, `process_*`) are none of its measurements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, LogNormal};

use crate::catalog::{LABELS_MAX, Metric};
use crate::expose::{Family, Sample, Value};
use crate::model::time::{Millis, UnixMillis};
use crate::pipeline::Stopwatch;
use crate::simulator::chance;

/// One way to the platform: median in milliseconds, and sigma of the log-normal. The order of a
/// region on the same continent.
const WAY: (f64, f64) = (35.0, 0.45);
/// No way takes longer; the rest of a log-normal has no end.
const WAY_MAX: f64 = 2_000.0;
/// Until an append is durable, and until a batch is: some fsyncs of an ordinary disk.
const APPEND_MS: std::ops::Range<i64> = 3..15;
const BATCH_MS: std::ops::Range<i64> = 8..30;
/// The same while the disk is slow.
const SLOW_BATCH_MS: std::ops::Range<i64> = 8_000..16_000;
/// What a phase of the cycle takes an agent, in nanoseconds: the order of `benches/cycle.rs`.
const WORK_NANOS: u64 = 900;
/// Least work of a phase, in nanoseconds.
const WORK_NANOS_MIN: u64 = 20_000;
/// What a batch takes the processor, in nanoseconds.
const BATCH_NANOS: u64 = 1_500_000;

/// Resident memory: 60 MB were measured at 10,000 agents (README, Scaling).
const RESIDENT_BYTES: u64 = 14_000_000;
const RESIDENT_BYTES_AN_AGENT: u64 = 4_600;
/// Stacks and mappings beside that.
const VIRTUAL_BYTES: u64 = 180_000_000;
const THREADS: u64 = 6;
const OPEN_FILES: u64 = 22;
const OPEN_FILES_MAX: u64 = 1_024;

/// A machine that is none.
pub(super) struct Machine {
    random: ChaCha8Rng,
    agents: u64,
    seed: u64,
    /// Work done so far, in nanoseconds.
    work: Arc<AtomicU64>,
}

impl Machine {
    pub(super) fn new(seed: u64, agents: u32) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            agents: u64::from(agents),
            seed,
            work: Arc::default(),
        }
    }

    /// One way of a request or an answer.
    pub(super) fn way(&mut self) -> Millis {
        let (median, sigma) = WAY;
        let way = LogNormal::new(median.ln(), sigma).expect("sigma is finite");
        Millis(way.sample(&mut self.random).min(WAY_MAX).round() as i64)
    }

    /// Until an append is durable.
    pub(super) fn append(&mut self) -> Millis {
        Millis(self.random.random_range(APPEND_MS))
    }

    /// Until a batch is committed.
    pub(super) fn batch(&mut self, slow: bool) -> Millis {
        self.work.fetch_add(BATCH_NANOS, Ordering::Relaxed);
        let range = if slow { SLOW_BATCH_MS } else { BATCH_MS };
        Millis(self.random.random_range(range))
    }

    /// The pipeline looks at it at the beginning and at the end of a phase; each look is so much
    /// later than the last.
    pub(super) fn stopwatch(&self) -> Stopwatch {
        let (work, seed) = (Arc::clone(&self.work), self.seed);
        let typical = (self.agents * WORK_NANOS).max(WORK_NANOS_MIN);
        Arc::new(move || {
            let before = work.load(Ordering::Relaxed);
            // From half to one and a half of what is typical.
            let more = typical / 2 + chance::mix(&[seed, before]) % typical;
            work.store(before + more, Ordering::Relaxed);
            (before + more) as f64 / 1e9
        })
    }

    /// What the operating system would tell.
    pub(super) fn process(&self, started: UnixMillis, sockets: usize) -> Vec<Family<'static>> {
        let seconds = self.work.load(Ordering::Relaxed) as f64 / 1e9;
        let resident = RESIDENT_BYTES + RESIDENT_BYTES_AN_AGENT * self.agents;
        let one = |metric, value| Family {
            metric,
            samples: vec![Sample {
                labels: [""; LABELS_MAX],
                value,
            }],
        };
        vec![
            one(Metric::ProcessCpu, Value::Float(seconds)),
            one(
                Metric::ProcessOpenFds,
                Value::Count(OPEN_FILES + sockets as u64),
            ),
            one(Metric::ProcessMaxFds, Value::Count(OPEN_FILES_MAX)),
            one(
                Metric::ProcessVirtualMemory,
                Value::Count(resident + VIRTUAL_BYTES),
            ),
            one(Metric::ProcessResidentMemory, Value::Count(resident)),
            one(Metric::ProcessStartTime, Value::Millis(started.0)),
            one(Metric::ProcessThreads, Value::Count(THREADS)),
        ]
    }
}
