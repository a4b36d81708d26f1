//! What the catalog says of a metric. Types only; the rows stand in `table`.

use super::table::Metric;

/// Most labels of one metric: `queue`, `from`, `to`. Samples keep their values in an array of
/// this size, so that a sample costs no allocation; a test holds the table to it.
pub const LABELS_MAX: usize = 3;

/// The label by which series of several organisations are told apart. An exporter of one has none of
/// it.
pub const ORG_LABEL: &str = "org";

/// One row of the catalog.
#[derive(Debug, Clone, Copy)]
pub struct MetricSpec {
    /// How code refers to it.
    pub id: Metric,
    /// The part of the product it speaks of.
    pub area: Area,
    /// The exposed name, letter for letter.
    pub prometheus_name: &'static str,
    /// The OpenTelemetry name; the standard translation makes `prometheus_name` of it.
    pub otel_name: &'static str,
    /// The unit.
    pub unit: Unit,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Labels, in the order in which they are written.
    pub labels: &'static [LabelSpec],
    /// One sentence: what it means, in which unit, with what caveat.
    pub help: &'static str,
    /// What users may rely on.
    pub stability: Stability,
    /// The version that added it.
    pub since: &'static str,
    /// How many series there can be.
    pub series: SeriesBound,
    /// Who holds the value.
    pub origin: Origin,
}

impl MetricSpec {
    /// The metric's name without `_total`: what OpenMetrics calls the family.
    pub fn family_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self
                .prometheus_name
                .strip_suffix("_total")
                .unwrap_or(self.prometheus_name),
            Kind::Gauge | Kind::Histogram(_) => self.prometheus_name,
        }
    }

    /// Whether it is about the process, however many organisations that serves.
    pub fn is_of_process(&self) -> bool {
        self.area == Area::Process || self.id == Metric::OtlpExports
    }

    /// The unit's word if the family's name ends in it: only then OpenMetrics allows `# UNIT`.
    pub fn unit_suffix(&self) -> Option<&'static str> {
        let word = self.unit.word()?;
        let stem = self.family_name().strip_suffix(word)?;
        stem.ends_with('_').then_some(word)
    }
}

/// The part of the product that a metric speaks of; a section of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Agents and queues.
    Agents,
    /// Polling, judging, reconciling.
    Pipeline,
    /// Events, windows, the store.
    Delivery,
    /// The exporter as a process.
    Process,
}

impl Area {
    /// Every area, in the order of the reference.
    pub const ALL: [Self; 4] = [Self::Agents, Self::Pipeline, Self::Delivery, Self::Process];

    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Agents => "Agents and queues",
            Self::Pipeline => "Pipeline health",
            Self::Delivery => "Events, windows and store",
            Self::Process => "The exporter",
        }
    }
}

/// Who holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The live view; absent until a snapshot was accepted, where it counts agents.
    View,
    /// The exporter's own counters.
    Telemetry,
    /// The operating system.
    Process,
}

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Never falls.
    Counter,
    /// May fall.
    Gauge,
    /// Counts by upper bound; the bounds ascend and leave out `+Inf`.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word on `# TYPE` lines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A fraction from 0 to 1.
    Ratio,
    /// Countable things: a UCUM annotation such as `{agent}`.
    Count(&'static str),
    /// No unit at all, for states and facts: a `1` would translate to `_ratio`.
    None,
}

impl Unit {
    /// The UCUM code that OpenTelemetry stores.
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Bytes => "By",
            Self::Ratio => "1",
            Self::Count(annotation) => annotation,
            Self::None => "",
        }
    }

    /// The word that Prometheus names end in.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Ratio => Some("ratio"),
            Self::Count(_) | Self::None => None,
        }
    }
}

/// A label.
#[derive(Debug, Clone, Copy)]
pub struct LabelSpec {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub values: LabelValues,
}

/// The values that a label takes.
#[derive(Debug, Clone, Copy)]
pub enum LabelValues {
    /// Exactly these.
    Closed(&'static [&'static str]),
    /// Names of the organisation's queues that the configuration keeps.
    Queues,
    /// The id of the queue that the series names; adds no series.
    QueueIds,
    /// Ids, pseudonyms or names of agents; only with `metrics.per_agent`.
    Agents,
    /// One text for the life of the process; adds no series.
    Constant,
}

/// What users may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Name and meaning stay; labels may be added.
    Stable,
    /// May change in any version.
    Experimental,
}

impl Stability {
    /// The word in the reference.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Experimental => "experimental",
        }
    }
}

/// What the number of series grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Nothing.
    Once,
    /// The number of queues.
    PerQueue,
    /// The number of agents.
    PerAgent,
}

/// The most series that a metric can have: `most` times what `scale` counts. A histogram's
/// buckets are not counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesBound {
    /// Series each.
    pub most: u32,
    /// Of what.
    pub scale: Scale,
}
