//! Samples of the past, series by series. Pure.
//!
//! Most series change seldom, so a series keeps its values with the samples at which they began:
//! a day of 500 agents takes megabytes, where its text takes hundreds.

use std::collections::BTreeMap;

use crate::catalog::{LABELS_MAX, Metric};
use crate::expose::{Family, Sample, Value};

/// Stands between the values of labels in a key; names and values never hold it.
const BETWEEN: char = '\u{1f}';

/// Everything that was scraped.
#[derive(Debug, Default)]
pub struct Recording {
    families: BTreeMap<Metric, BTreeMap<String, Series>>,
    scrapes: u32,
    /// Where the next look-up builds its key.
    key: String,
}

/// One series: values with the scrapes from which on they hold.
#[derive(Debug, Default)]
struct Series {
    runs: Vec<(u32, Option<Value>)>,
    /// The scrape after the last that had it.
    until: u32,
}

/// A value and the scrapes that had it.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) sample: Sample<'a>,
    pub(super) scrapes: std::ops::Range<u32>,
}

impl Recording {
    /// Takes what a scrape would have got.
    pub(super) fn scrape(&mut self, families: &[Family<'_>]) {
        let at = self.scrapes;
        self.scrapes += 1;
        for family in families.iter().filter(|family| !family.samples.is_empty()) {
            let kept = self.families.entry(family.metric).or_default();
            for sample in &family.samples {
                key_of(&sample.labels, &mut self.key);
                if let Some(series) = kept.get_mut(&self.key) {
                    series.push(at, &sample.value);
                } else {
                    let mut series = Series::default();
                    series.push(at, &sample.value);
                    kept.insert(self.key.clone(), series);
                }
            }
        }
    }

    /// How many scrapes there were.
    pub fn scrapes(&self) -> u32 {
        self.scrapes
    }

    /// How many series there are, a histogram counted once.
    pub fn series(&self) -> usize {
        self.families.values().map(BTreeMap::len).sum()
    }

    /// Metrics in the order of the catalog, each with its series in the order of their labels.
    pub(super) fn families(
        &self,
    ) -> impl Iterator<Item = (Metric, impl Iterator<Item = Vec<Run<'_>>>)> {
        self.families.iter().map(|(metric, kept)| {
            let series = kept.iter();
            (*metric, series.map(|(key, series)| series.runs_of(key)))
        })
    }
}

impl Series {
    fn push(&mut self, at: u32, value: &Value) {
        if at > self.until && !self.runs.is_empty() {
            self.runs.push((self.until, None));
        }
        self.until = at + 1;
        let last = self.runs.last().and_then(|(_, value)| value.as_ref());
        if last != Some(value) {
            self.runs.push((at, Some(value.clone())));
        }
    }

    fn runs_of<'a>(&'a self, key: &'a str) -> Vec<Run<'a>> {
        let ends = self.runs.iter().skip(1).map(|(from, _)| *from);
        let ends = ends.chain([self.until]);
        let runs = self.runs.iter().zip(ends);
        runs.filter_map(|((from, value), until)| {
            let sample = Sample {
                labels: labels_of(key),
                value: value.clone()?,
            };
            Some(Run {
                sample,
                scrapes: *from..until,
            })
        })
        .collect()
    }
}

fn key_of(labels: &[&str; LABELS_MAX], key: &mut String) {
    key.clear();
    for label in labels {
        key.push_str(label);
        key.push(BETWEEN);
    }
}

fn labels_of(key: &str) -> [&str; LABELS_MAX] {
    let mut labels = [""; LABELS_MAX];
    for (place, label) in labels.iter_mut().zip(key.split(BETWEEN)) {
        *place = label;
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scraped(recording: &mut Recording, values: &[(&str, u64)]) {
        let samples = values.iter().map(|(state, value)| Sample {
            labels: [state, "", ""],
            value: Value::Count(*value),
        });
        recording.scrape(&[Family {
            metric: Metric::Agents,
            samples: samples.collect(),
        }]);
    }

    #[test]
    fn a_value_is_kept_once_and_a_gap_is_a_gap() {
        let mut recording = Recording::default();
        scraped(&mut recording, &[("available", 3), ("on_call", 1)]);
        scraped(&mut recording, &[("available", 3)]);
        scraped(&mut recording, &[("available", 4), ("on_call", 1)]);
        scraped(&mut recording, &[]);
        assert_eq!((recording.scrapes(), recording.series()), (4, 2));
        let (metric, series) = recording.families().next().unwrap();
        assert_eq!(metric, Metric::Agents);
        let told: Vec<String> = series
            .flatten()
            .map(|run| {
                let Value::Count(value) = run.sample.value else {
                    panic!("a count");
                };
                format!("{} {value} {:?}", run.sample.labels[0], run.scrapes)
            })
            .collect();
        assert_eq!(
            told,
            [
                "available 3 0..2",
                "available 4 2..3",
                "on_call 1 0..1",
                "on_call 1 2..3"
            ]
        );
    }

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<(u32, Option<Value>)>() <= 24);
    }
}
