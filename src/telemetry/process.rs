//! The standard process metrics, read from /proc at each gather.
//!
//! Our own instead of the prometheus crate's collector, which cuts CPU time to whole seconds
//! (conventions.md §5). Where there is no /proc, or a file reads oddly, the metric is absent.
//! Every scrape waits for this, so it reads the short files: `status` tells the memory too, and
//! takes the kernel five times as long to write as `statm`.

use std::fs;
use std::path::{Path, PathBuf};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Metric as Sample, MetricFamily, MetricType};

use super::optional::gauge_family;
use super::register::desc;
use crate::catalog::{CATALOG, Metric, Origin};

/// Clock ticks a second in /proc: the kernel's interface to user space is fixed at 100 on every
/// architecture that this program builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// /proc/self/stat names the command in parentheses, which may hold spaces and parentheses;
/// after the last `)` the fields count from 3 (proc(5)).
const FIRST_FIELD_AFTER_COMMAND: usize = 3;
const UTIME: usize = 14;
const STIME: usize = 15;
const THREADS: usize = 20;
const START_TIME: usize = 22;

/// Fields of /proc/self/statm, in pages (proc(5)).
const SIZE: usize = 0;
const RESIDENT: usize = 1;

/// Of the pairs in /proc/self/auxv, the one that tells the page size (getauxval(3)).
const AT_PAGESZ: usize = 6;

/// Looks at /proc.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
    root: PathBuf,
    /// Read once: /proc/stat, which has the boot time, is the dearest of all these files.
    started: Option<f64>,
    /// In bytes. Read once: it cannot change.
    page_size: Option<f64>,
    /// The size of /proc/self/fd is the number of descriptors, as it is since Linux 6.2.
    sized_fds: bool,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        Self::below(Path::new("/proc"))
    }

    fn below(root: &Path) -> Self {
        let descs = CATALOG
            .iter()
            .filter(|spec| spec.origin == Origin::Process)
            .map(|spec| desc(spec.id))
            .collect();
        let mut collector = Self {
            descs,
            root: root.to_owned(),
            started: None,
            page_size: None,
            sized_fds: false,
        };
        let boot = line_value(&collector.read("stat"), "btime ");
        let up = ticks(&collector.read("self/stat"), START_TIME);
        collector.started = boot.zip(up).map(|(boot, up)| boot + up);
        let auxiliary = fs::read(collector.root.join("self/auxv")).unwrap_or_default();
        collector.page_size = page_size(&auxiliary);
        let counted = collector.counted_fds().unwrap_or_default();
        let told = collector.told_fds().unwrap_or_default();
        // The count holds the descriptor that it was read with.
        collector.sized_fds = told > 0 && told.abs_diff(counted) <= 1;
        collector
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap_or_default()
    }

    /// Descriptors that are open.
    fn open_fds(&self) -> Option<f64> {
        let open = if self.sized_fds {
            self.told_fds()
        } else {
            self.counted_fds()
        };
        open.map(|open| open as f64)
    }

    fn told_fds(&self) -> Option<u64> {
        Some(fs::metadata(self.root.join("self/fd")).ok()?.len())
    }

    fn counted_fds(&self) -> Option<u64> {
        Some(fs::read_dir(self.root.join("self/fd")).ok()?.count() as u64)
    }

    fn pages(&self, statm: &str, field: usize) -> Option<f64> {
        let pages: u64 = statm.split_ascii_whitespace().nth(field)?.parse().ok()?;
        Some(pages as f64 * self.page_size?)
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = self.read("self/stat");
        let memory = self.read("self/statm");
        let limits = self.read("self/limits");
        let mut families = Vec::new();
        if let (Some(user), Some(system)) = (ticks(&stat, UTIME), ticks(&stat, STIME)) {
            families.push(cpu_family(user + system));
        }
        let gauges = [
            (Metric::ProcessOpenFds, self.open_fds()),
            (Metric::ProcessMaxFds, line_value(&limits, "Max open files")),
            (Metric::ProcessVirtualMemory, self.pages(&memory, SIZE)),
            (
                Metric::ProcessVirtualMemoryMax,
                line_value(&limits, "Max address space"),
            ),
            (Metric::ProcessResidentMemory, self.pages(&memory, RESIDENT)),
            (Metric::ProcessStartTime, self.started),
            (Metric::ProcessThreads, stat_field(&stat, THREADS)),
        ];
        families.extend(
            gauges
                .into_iter()
                .filter_map(|(metric, value)| Some(gauge_family(metric, value?))),
        );
        families
    }
}

fn cpu_family(seconds: f64) -> MetricFamily {
    let spec = Metric::ProcessCpu.spec();
    let mut counter = Counter::default();
    counter.set_value(seconds);
    let mut sample = Sample::default();
    sample.set_counter(counter);
    let mut family = MetricFamily::default();
    family.set_name(spec.prometheus_name.to_owned());
    family.set_help(spec.help.to_owned());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(vec![sample]);
    family
}

/// A numeric field of /proc/self/stat, by its number in proc(5).
fn stat_field(stat: &str, field: usize) -> Option<f64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    after_command
        .split_ascii_whitespace()
        .nth(field - FIRST_FIELD_AFTER_COMMAND)?
        .parse::<u64>()
        .ok()
        .map(|value| value as f64)
}

/// A field that counts clock ticks, in seconds.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    stat_field(stat, field).map(|ticks| ticks / TICKS_PER_SECOND)
}

/// The first number after `prefix` on the line that begins with it; `unlimited` is none.
fn line_value(text: &str, prefix: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(prefix))?
        .split_ascii_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|value| value as f64)
}

/// The page size in /proc/self/auxv: pairs of native words, a key and its value.
fn page_size(auxiliary: &[u8]) -> Option<f64> {
    let (words, _) = auxiliary.as_chunks::<{ size_of::<usize>() }>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| pair.map(usize::from_ne_bytes))
        .find(|[key, _]| *key == AT_PAGESZ)
        .map(|[_, size]| size as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(families: &[MetricFamily], metric: Metric) -> Option<f64> {
        let family = families
            .iter()
            .find(|family| family.name() == metric.spec().prometheus_name)?;
        let sample = &family.get_metric()[0];
        Some(match family.get_field_type() {
            MetricType::COUNTER => sample.get_counter().get_value(),
            _ => sample.get_gauge().get_value(),
        })
    }

    #[test]
    fn reads_a_process_with_an_odd_name() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("self");
        fs::create_dir_all(own.join("fd")).unwrap();
        for fd in ["0", "1", "2"] {
            fs::write(own.join("fd").join(fd), "").unwrap();
        }
        fs::write(
            own.join("stat"),
            "42 (odd) name) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 7 0 25000 8192 300 1",
        )
        .unwrap();
        fs::write(own.join("statm"), "512 128 64 1 0 200 0\n").unwrap();
        let auxiliary = [[16, 7], [AT_PAGESZ, 4_096], [0, 0]];
        let words = auxiliary.as_flattened().iter();
        let bytes: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        fs::write(own.join("auxv"), bytes).unwrap();
        fs::write(
            own.join("limits"),
            "Limit  Soft\nMax open files  20000  20000  files\nMax address space  unlimited  unlimited  bytes\n",
        )
        .unwrap();
        fs::write(root.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
        let families = ProcessCollector::below(root.path()).collect();
        for (metric, expected) in [
            (Metric::ProcessCpu, Some(1.68)),
            (Metric::ProcessThreads, Some(7.0)),
            (Metric::ProcessStartTime, Some(1_700_000_250.0)),
            (Metric::ProcessOpenFds, Some(3.0)),
            (Metric::ProcessMaxFds, Some(20_000.0)),
            (Metric::ProcessVirtualMemory, Some(2_097_152.0)),
            (Metric::ProcessVirtualMemoryMax, None),
            (Metric::ProcessResidentMemory, Some(524_288.0)),
        ] {
            assert_eq!(value(&families, metric), expected, "{metric:?}");
        }
    }

    #[test]
    fn without_proc_there_are_no_metrics_and_no_failure() {
        let nowhere = Path::new("/nonexistent-directory");
        assert!(ProcessCollector::below(nowhere).collect().is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_threads_memory_and_a_start() {
        let families = ProcessCollector::new().collect();
        for metric in [
            Metric::ProcessCpu,
            Metric::ProcessThreads,
            Metric::ProcessStartTime,
            Metric::ProcessOpenFds,
            Metric::ProcessResidentMemory,
        ] {
            assert!(value(&families, metric).is_some(), "{metric:?}");
        }
    }
}
