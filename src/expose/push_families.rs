//! The families of push: none at all where it is off or the dialect has none. Pure.

use super::families::{Family, Value, counts, single};
use crate::catalog::Metric;
use crate::model::push::PushView;

/// The families of push, in the order of the catalog.
pub(super) fn of_push(push: &PushView) -> Vec<Family<'static>> {
    let by_state = push.channels.iter();
    let channels: Vec<_> = by_state.map(|(state, n)| (state.label(), *n)).collect();
    let by_reason = push.reconnects.iter();
    let reconnects: Vec<_> = by_reason.map(|(reason, n)| (reason.label(), *n)).collect();
    let listed = |labels: &std::collections::BTreeMap<&'static str, u64>| {
        labels
            .iter()
            .map(|(label, n)| (*label, *n))
            .collect::<Vec<_>>()
    };
    vec![
        counts(Metric::NotificationChannels, &channels),
        single(Metric::NotificationAgents, Value::Count(push.agents)),
        counts(Metric::NotificationEvents, &listed(&push.events)),
        counts(Metric::NotificationReconnects, &reconnects),
        counts(Metric::NotificationRejections, &listed(&push.rejections)),
        single(
            Metric::NotificationDisagreements,
            Value::Count(push.disagreements),
        ),
    ]
}
