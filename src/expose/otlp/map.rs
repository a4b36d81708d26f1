//! Families to points, and points to requests. Pure.
//!
//! Values are those of the page: counts as they are, milliseconds as seconds. Histograms are not
//! here, because the SDK keeps its own. What belongs to no queue and no agent travels in one
//! request; queues and agents are spread over as many as their series take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use opentelemetry::KeyValue;

use super::places::Places;
use crate::catalog::{CATALOG, LABELS_MAX, Metric, MetricSpec, ORG_LABEL, Scale};
use crate::expose::families::{Family, Value};

/// Most points of a request. With the longest names a point takes some 300 bytes, so a request
/// stays below 4 MiB, the most that gRPC servers take by default; a test holds it.
pub(super) const POINTS_MAX: usize = 12_000;

/// Label values of a series, in the order of the catalog; unused places are empty.
pub(super) type Labels = [Arc<str>; LABELS_MAX];

/// A series at this instant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// What one request holds.
pub(super) type Slice = BTreeMap<Metric, Vec<Point>>;

/// A request of a push; they are sent in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ShardId {
    /// What belongs to no queue and no agent.
    Own,
    /// Queues.
    Queues(usize),
    /// Agents.
    Agents(usize),
}

impl ShardId {
    /// What its metrics grow with.
    pub(super) const fn scale(self) -> Scale {
        match self {
            Self::Own => Scale::Once,
            Self::Queues(_) => Scale::PerQueue,
            Self::Agents(_) => Scale::PerAgent,
        }
    }
}

/// Rows of the catalog whose series grow with `scale`.
pub(super) fn rows(scale: Scale) -> impl Iterator<Item = &'static MetricSpec> {
    CATALOG
        .iter()
        .filter(move |spec| spec.series.scale == scale)
}

/// Spreads points over requests, the same way each time.
#[derive(Debug)]
pub(super) struct Mapping {
    queues: Places,
    agents: Places,
}

impl Mapping {
    /// No metric gets more than `cardinality_limit` series in a request.
    pub(super) fn new(cardinality_limit: usize) -> Self {
        let places = |scale| Places::new(entities_max(scale, cardinality_limit));
        Self {
            queues: places(Scale::PerQueue),
            agents: places(Scale::PerAgent),
        }
    }

    /// The requests of a push; one without points is left out.
    pub(super) fn slices(&mut self, families: &[Family<'_>]) -> BTreeMap<ShardId, Slice> {
        self.queues.settle(&entities(families, Scale::PerQueue));
        self.agents.settle(&entities(families, Scale::PerAgent));
        let mut texts = Texts::default();
        let mut slices: BTreeMap<ShardId, Slice> = BTreeMap::new();
        for family in families {
            let scale = family.metric.spec().series.scale;
            for sample in &family.samples {
                let Some(value) = number(&sample.value) else {
                    continue;
                };
                let entity = sample.labels[0];
                let id = match scale {
                    Scale::Once => Some(ShardId::Own),
                    Scale::PerQueue => self.queues.of(entity).map(ShardId::Queues),
                    Scale::PerAgent => self.agents.of(entity).map(ShardId::Agents),
                };
                let labels = sample.labels.map(|label| texts.shared(label));
                let points = slices
                    .entry(id.expect("every entity was settled"))
                    .or_default()
                    .entry(family.metric)
                    .or_default();
                points.push(Point { labels, value });
            }
        }
        slices
    }
}

/// The number that the page shows; a histogram is none.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Count(count) => Some(*count as f64),
        // The quotient is the float nearest to the decimal on the page.
        Value::Millis(millis) => Some(*millis as f64 / 1_000.0),
        Value::Float(float) => Some(*float),
        Value::Histogram(_) => None,
    }
}

/// Attributes of a series, ordered by key: in another order the SDK would look them up twice. `org`:
/// the organisation among several.
pub(super) fn attributes(metric: Metric, labels: &Labels, org: Option<&Arc<str>>) -> Vec<KeyValue> {
    let mut attributes: Vec<KeyValue> = metric
        .spec()
        .labels
        .iter()
        .zip(labels)
        .map(|(label, value)| KeyValue::new(label.name, Arc::clone(value)))
        .chain(org.map(|org| KeyValue::new(ORG_LABEL, Arc::clone(org))))
        .collect();
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    attributes
}

fn entities_max(scale: Scale, cardinality_limit: usize) -> usize {
    let series = || rows(scale).map(|spec| spec.series.most as usize);
    let (of_all, of_one) = (series().sum::<usize>(), series().max().unwrap_or(1));
    (POINTS_MAX / of_all.max(1))
        .min(cardinality_limit / of_one)
        .max(1)
}

/// The first label of what grows with queues or agents names the queue or agent.
fn entities<'a>(families: &[Family<'a>], scale: Scale) -> BTreeSet<&'a str> {
    families
        .iter()
        .filter(|family| family.metric.spec().series.scale == scale)
        .flat_map(|family| family.samples.iter().map(|sample| sample.labels[0]))
        .collect()
}

/// A queue's name is on dozens of series; they share one text.
#[derive(Default)]
struct Texts<'a>(BTreeMap<&'a str, Arc<str>>);

impl<'a> Texts<'a> {
    fn shared(&mut self, text: &'a str) -> Arc<str> {
        Arc::clone(self.0.entry(text).or_insert_with(|| Arc::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CARDINALITY_LIMIT_MIN;

    #[test]
    fn what_grows_names_its_queue_or_agent_first() {
        for (scale, label) in [(Scale::PerQueue, "queue"), (Scale::PerAgent, "agent")] {
            assert!(rows(scale).count() > 1);
            assert!(rows(scale).all(|spec| spec.labels[0].name == label));
        }
    }

    #[test]
    fn a_request_keeps_both_limits() {
        let series = |scale| rows(scale).map(|spec| spec.series.most as usize);
        // What does not grow is one request, within the least limit that can be set.
        let largest = series(Scale::Once).max().unwrap();
        assert!(largest <= CARDINALITY_LIMIT_MIN as usize, "{largest}");
        assert!(series(Scale::Once).sum::<usize>() <= POINTS_MAX);
        for limit in [CARDINALITY_LIMIT_MIN as usize, 10_000, 1_000_000] {
            for scale in [Scale::PerQueue, Scale::PerAgent] {
                let entities = entities_max(scale, limit);
                assert!(series(scale).max().unwrap() * entities <= limit);
                assert!(series(scale).sum::<usize>() * entities <= POINTS_MAX);
            }
        }
    }

    #[test]
    fn a_value_is_the_float_that_the_page_reads_as() {
        for millis in [0, 1, -1_500, 1_715_675_400_250, 9_007_199_254_740_991] {
            let seconds = number(&Value::Millis(millis)).unwrap();
            let (whole, rest) = (millis.unsigned_abs() / 1_000, millis.unsigned_abs() % 1_000);
            let sign = if millis < 0 { "-" } else { "" };
            let decimal: f64 = format!("{sign}{whole}.{rest:03}").parse().unwrap();
            assert_eq!(seconds.to_bits(), decimal.to_bits(), "{millis}");
        }
    }
}
