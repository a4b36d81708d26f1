//! Window rows as a request of Prometheus remote write 1.0: protobuf, compressed by snappy.
//!
//! A sample stands at the end of its window. The same rows give the same bytes. Series are told
//! apart by organisation, agent and length of window; a receiver that is to keep no agents apart
//! is no receiver for this.

use prost::Message;

use crate::model::state::RoutingState;
use crate::model::time::Millis;
use crate::model::window::WindowRow;

/// The series of a window, without the catalog's pages: they go to databases, not to scrapers.
pub const REMOTE_WRITE_METRICS: [&str; 5] = [
    STATE_SECONDS,
    TRANSITIONS,
    COVERED_SECONDS,
    ESTIMATED_SECONDS,
    VOLATILE,
];

/// Time in a state within the window.
const STATE_SECONDS: &str = "genesyscloud_window_state_seconds";
/// Segment starts within the window.
const TRANSITIONS: &str = "genesyscloud_window_state_transitions";
/// The part of the window in which the agent was in the registry.
const COVERED_SECONDS: &str = "genesyscloud_window_covered_seconds";
/// Time whose bound was observed rather than read from the platform.
const ESTIMATED_SECONDS: &str = "genesyscloud_window_estimated_seconds";
/// 1 if a run of transitions touches the window.
const VOLATILE: &str = "genesyscloud_window_volatile";

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `prometheus.Sample`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

/// The body of a request.
pub(super) fn body(org: &str, rows: &[WindowRow]) -> Vec<u8> {
    let request = WriteRequest {
        timeseries: rows.iter().flat_map(|row| series(org, row)).collect(),
    };
    let mut compressor = snap::raw::Encoder::new();
    compressor
        .compress_vec(&request.encode_to_vec())
        .expect("a page of rows is far below snappy's limit of 4 GiB")
}

/// The series of a row, each with its one sample.
fn series(org: &str, row: &WindowRow) -> Vec<TimeSeries> {
    let length = row.window_end - row.window_start;
    let one = |name: &str, state: Option<RoutingState>, value: f64| {
        // Receivers want labels in the order of their names.
        let mut labels = vec![
            label("__name__", name),
            label("agent", row.user_id.as_str()),
            label("org", org),
        ];
        labels.extend(state.map(|state| label("state", state.label())));
        labels.push(label("window", &seconds(length)));
        TimeSeries {
            labels,
            samples: vec![Sample {
                value,
                timestamp: row.window_end.0,
            }],
        }
    };
    let quality = &row.quality;
    let states = RoutingState::ALL.into_iter().zip(row.metrics.by_state());
    let mut all: Vec<TimeSeries> = states
        .map(|(state, time)| one(STATE_SECONDS, Some(state), time.as_secs_f64()))
        .collect();
    all.extend([
        one(TRANSITIONS, None, row.metrics.state_transitions.into()),
        one(COVERED_SECONDS, None, quality.covered_seconds.as_secs_f64()),
        one(
            ESTIMATED_SECONDS,
            None,
            quality.estimated_seconds.as_secs_f64(),
        ),
        one(VOLATILE, None, f64::from(u8::from(quality.volatile))),
    ]);
    all
}

fn label(name: &str, value: &str) -> Label {
    Label {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A length of windows: `300s`; with milliseconds only if it has some.
fn seconds(length: Millis) -> String {
    if length.0 % 1_000 == 0 {
        format!("{}s", length.0 / 1_000)
    } else {
        format!("{}ms", length.0)
    }
}

#[cfg(test)]
#[allow(
    clippy::float_cmp,
    reason = "thousandths of seconds that were never added up"
)]
mod tests {
    use super::*;
    use crate::model::ids::UserId;
    use crate::model::time::UnixMillis;
    use crate::model::window::{WindowMetrics, WindowQuality};

    #[test]
    fn a_row_is_nine_samples_at_its_end_with_labels_in_order() {
        let by_state = [150_250, 0, 119_750, 30_000, 0].map(Millis);
        let row = WindowRow {
            user_id: UserId::new("agent-1"),
            window_start: UnixMillis(300_000),
            window_end: UnixMillis(600_000),
            metrics: WindowMetrics::from_states(by_state, 3),
            quality: WindowQuality {
                covered_seconds: Millis(300_000),
                estimated_seconds: Millis(1),
                volatile: true,
                revision: 2,
            },
        };
        let sent = body("default", std::slice::from_ref(&row));
        assert_eq!(sent, body("default", std::slice::from_ref(&row)));
        let plain = snap::raw::Decoder::new().decompress_vec(&sent).unwrap();
        let request = WriteRequest::decode(&*plain).unwrap();
        assert_eq!(request.timeseries.len(), 9);
        let mut by_name = Vec::new();
        for series in &request.timeseries {
            assert!(series.labels.is_sorted_by(|a, b| a.name < b.name));
            assert_eq!(series.samples.len(), 1);
            assert_eq!(series.samples[0].timestamp, 600_000);
            let values = series.labels.iter().map(|label| label.value.as_str());
            by_name.push((
                values.collect::<Vec<_>>().join(" "),
                series.samples[0].value,
            ));
        }
        let first = format!("{STATE_SECONDS} agent-1 default available 300s");
        assert_eq!(by_name[0], (first, 150.25));
        assert_eq!(
            by_name[5],
            (format!("{TRANSITIONS} agent-1 default 300s"), 3.0)
        );
        assert_eq!(by_name[7].1, 0.001);
        assert_eq!(by_name[8].1, 1.0);
        let total: f64 = by_name[..5].iter().map(|(_, value)| value).sum();
        assert!((total - 300.0).abs() < 1e-9);
        for name in REMOTE_WRITE_METRICS {
            assert!(by_name.iter().any(|(labels, _)| labels.starts_with(name)));
        }
    }
}
