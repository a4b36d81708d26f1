//! Families and samples: the catalog's metrics with their values. Pure.
//!
//! Made from the live view, and from what the registry of the exporter's own counters gathered;
//! both pages and pushes are made of these. A value that is not known is an absent sample,
//! never NaN; what the view no longer holds has no sample, because the view is whole.

use std::collections::BTreeMap;

use prometheus::proto::{Metric as RawSample, MetricFamily};

use super::names::SeriesNames;
use super::push_families::of_push;
use crate::catalog::{Kind, LABELS_MAX, Metric};
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::{
    BreakerState, Health, PerState, QueueView, SnapshotOutcome, UnknownCause, View,
};

/// A metric with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Family<'a> {
    /// The row of the catalog.
    pub metric: Metric,
    /// Samples in a stable order.
    pub samples: Vec<Sample<'a>>,
}

/// One series at this instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// Values of the row's labels, in the row's order; unused places are empty.
    pub labels: [&'a str; LABELS_MAX],
    /// The value.
    pub value: Value,
}

/// A value in the form in which it is exact.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// Milliseconds since the epoch, or a span of them; exposed in seconds.
    Millis(i64),
    /// A measured number.
    Float(f64),
    /// A histogram; boxed, so that a value is as small as a number.
    Histogram(Box<Distribution>),
}

/// What a histogram holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper bound and cumulative count, ascending, `+Inf` left out.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of everything observed.
    pub sum: f64,
    /// How many observations: the `+Inf` bucket.
    pub count: u64,
}

/// The families of the live view, in the order of the catalog. Agents are counted only once a
/// snapshot was accepted: before that there would be only zeros. Per-agent series exist if
/// `names` names the agents.
pub fn of_view<'a>(view: &'a View, names: &'a SeriesNames<'a>) -> Vec<Family<'a>> {
    let mut families = Vec::new();
    if view.health.accepted_at.is_some() {
        families.extend(of_queues(view, names));
        families.extend(of_organisation(view));
        families.extend(of_agents(view, names));
    }
    families.extend(of_platform_statuses(view));
    families.extend(of_snapshots(&view.health, &view.organisation.presences));
    families.extend(of_breaker_and_divergence(&view.health));
    families.extend(of_time(&view.health));
    if let Some(push) = &view.health.push {
        families.extend(of_push(push));
    }
    families.sort_by_key(|family| family.metric);
    families
}

fn of_queues<'a>(view: &'a View, names: &'a SeriesNames<'a>) -> Vec<Family<'a>> {
    let queues = || {
        view.queues
            .iter()
            .zip(names.queues.iter().map(|name| &**name))
    };
    let each = |metric, value: fn(&QueueView) -> u64| Family {
        metric,
        samples: queues()
            .map(|(queue, name)| sample([name, "", ""], Value::Count(value(queue))))
            .collect(),
    };
    vec![
        Family {
            metric: Metric::QueueAgents,
            samples: queues()
                .flat_map(|(queue, name)| by_state(name, &queue.agents, |n| Value::Count(*n)))
                .collect(),
        },
        each(Metric::QueuePhantomAvailableAgents, |queue| queue.phantom),
        each(Metric::QueueVolatileAgents, |queue| queue.volatile),
        Family {
            metric: Metric::QueueStateTime,
            samples: queues()
                .flat_map(|(queue, name)| by_state(name, &queue.time, |t| Value::Millis(t.0)))
                .collect(),
        },
        Family {
            metric: Metric::QueueStateTransitions,
            samples: queues()
                .flat_map(|(queue, name)| {
                    queue.transitions.iter().map(move |((from, to), count)| {
                        sample([name, from.label(), to.label()], Value::Count(*count))
                    })
                })
                .collect(),
        },
        Family {
            metric: Metric::QueueOldestStateEntered,
            samples: queues()
                .flat_map(|(queue, name)| {
                    RoutingState::ALL.into_iter().filter_map(move |state| {
                        let at = queue.oldest_entered_at[state.index()]?;
                        Some(sample([name, state.label(), ""], Value::Millis(at.0)))
                    })
                })
                .collect(),
        },
        Family {
            metric: Metric::QueueInfo,
            samples: queues()
                .map(|(queue, name)| sample([name, queue.queue_id.as_str(), ""], Value::Count(1)))
                .collect(),
        },
    ]
}

fn by_state<'a, T>(
    queue: &'a str,
    values: &'a PerState<T>,
    value: fn(&T) -> Value,
) -> impl Iterator<Item = Sample<'a>> {
    RoutingState::ALL
        .into_iter()
        .zip(values)
        .map(move |(state, item)| sample([queue, state.label(), ""], value(item)))
}

fn of_organisation(view: &View) -> Vec<Family<'_>> {
    let organisation = &view.organisation;
    let states = |metric, value: &dyn Fn(usize) -> Value| Family {
        metric,
        samples: RoutingState::ALL
            .into_iter()
            .map(|state| sample([state.label(), "", ""], value(state.index())))
            .collect(),
    };
    vec![
        states(Metric::Agents, &|i| Value::Count(organisation.agents[i])),
        states(Metric::StateTime, &|i| {
            Value::Millis(organisation.time[i].0)
        }),
        single(Metric::VolatileAgents, Value::Count(organisation.volatile)),
        single(Metric::StuckAgents, Value::Count(organisation.stuck)),
        single(Metric::AgentsStale, Value::Count(view.health.agents_stale)),
        single(
            Metric::AgentsMissing,
            Value::Count(view.health.agents_missing),
        ),
        single(
            Metric::QueuesLeftOut,
            Value::Count(view.health.queues_left_out),
        ),
    ]
}

fn of_agents<'a>(view: &'a View, names: &'a SeriesNames<'a>) -> Vec<Family<'a>> {
    let agents = || {
        view.agents
            .iter()
            .zip(names.agents.iter().map(|name| &**name))
    };
    vec![
        Family {
            metric: Metric::AgentState,
            samples: agents()
                .flat_map(|(agent, name)| {
                    RoutingState::ALL.into_iter().map(move |state| {
                        let is = u64::from(agent.state == state);
                        sample([name, state.label(), ""], Value::Count(is))
                    })
                })
                .collect(),
        },
        Family {
            metric: Metric::AgentStateEntered,
            samples: agents()
                .filter_map(|(agent, name)| {
                    Some(sample([name, "", ""], Value::Millis(agent.entered_at?.0)))
                })
                .collect(),
        },
    ]
}

/// Dialect `platform` alone has them.
fn of_platform_statuses(view: &View) -> Option<Family<'_>> {
    let statuses = view.organisation.platform_statuses.as_ref()?;
    Some(Family {
        metric: Metric::PlatformStatusAgents,
        samples: statuses
            .iter()
            .map(|(status, count)| sample([status.label(), "", ""], Value::Count(*count)))
            .collect(),
    })
}

fn of_snapshots<'a>(
    health: &Health,
    presences: &'a BTreeMap<&'static str, u64>,
) -> Vec<Family<'a>> {
    let known = health.accepted_at.is_some();
    let records = &health.records;
    vec![
        Family {
            metric: Metric::PresenceAgents,
            samples: presences
                .iter()
                .filter(|_| known)
                .map(|(presence, count)| sample([presence, "", ""], Value::Count(*count)))
                .collect(),
        },
        single(Metric::Up, Value::Count(u64::from(health.up))),
        Family {
            metric: Metric::Snapshots,
            samples: SnapshotOutcome::ALL
                .into_iter()
                .map(|outcome| {
                    let (result, reason) = outcome.labels();
                    let count = health.snapshots.get(&outcome).copied().unwrap_or(0);
                    sample([result, reason, ""], Value::Count(count))
                })
                .collect(),
        },
        optional(Metric::SnapshotCoverage, health.coverage.map(Value::Float)),
        optional(
            Metric::SnapshotAgents,
            health.snapshot_agents.map(Value::Count),
        ),
        optional(
            Metric::RegistryAgents,
            (known || health.registry_agents > 0).then_some(Value::Count(health.registry_agents)),
        ),
        instant(Metric::SnapshotAccepted, health.accepted_at),
        optional(
            Metric::RoutingJoinCoverage,
            health.join_coverage.map(Value::Float),
        ),
        instant(
            Metric::RoutingConfirmationOldest,
            health.oldest_confirmation,
        ),
        counts(
            Metric::Records,
            &[
                ("seen", records.seen),
                ("emitted", records.emitted),
                ("stale", records.stale),
                ("conflict", records.conflict),
                ("invalid", records.invalid),
            ],
        ),
    ]
}

fn of_breaker_and_divergence(health: &Health) -> Vec<Family<'static>> {
    let divergence = &health.divergence;
    let validated = divergence.ratio.is_some();
    vec![
        Family {
            metric: Metric::BreakerState,
            samples: BreakerState::ALL
                .into_iter()
                .map(|state| {
                    let is = u64::from(state == health.breaker);
                    sample([state.label(), "", ""], Value::Count(is))
                })
                .collect(),
        },
        single(Metric::BreakerTrips, Value::Count(health.breaker_trips)),
        optional(Metric::Divergence, divergence.ratio.map(Value::Float)),
        optional(
            Metric::DivergenceComparedAgents,
            validated.then_some(Value::Count(divergence.compared)),
        ),
        counts(
            Metric::DivergenceChecks,
            &[
                ("ok", divergence.ok),
                ("diverged", divergence.diverged),
                ("incomplete", divergence.incomplete),
            ],
        ),
        single(Metric::DivergenceRaces, Value::Count(divergence.races)),
        single(
            Metric::CacheInvalidations,
            Value::Count(divergence.invalidations),
        ),
        single(
            Metric::ApiBudgetRemaining,
            Value::Count(health.budget_remaining),
        ),
        single(Metric::ApiThrottled, Value::Count(health.throttled)),
    ]
}

fn of_time(health: &Health) -> Vec<Family<'static>> {
    vec![
        optional(
            Metric::ClockSkew,
            health.clock_skew_seconds.map(Value::Float),
        ),
        Family {
            metric: Metric::UnknownTime,
            samples: UnknownCause::ALL
                .into_iter()
                .map(|cause| {
                    let time = health.unknown_time.get(&cause).copied().unwrap_or_default();
                    sample([cause.label(), "", ""], Value::Millis(time.0))
                })
                .collect(),
        },
        single(Metric::StateTimeDebt, Value::Millis(health.debt.0)),
        single(
            Metric::VolatileHeldTime,
            Value::Millis(health.volatile_held.0),
        ),
        single(
            Metric::HiddenTransitions,
            Value::Count(health.hidden_transitions),
        ),
        optional(
            Metric::PollInterval,
            (health.poll_interval > Millis::ZERO).then_some(Value::Millis(health.poll_interval.0)),
        ),
        instant(Metric::WindowClosed, health.window_closed_until),
    ]
}

fn sample(labels: [&str; LABELS_MAX], value: Value) -> Sample<'_> {
    Sample { labels, value }
}

pub(super) fn single(metric: Metric, value: Value) -> Family<'static> {
    optional(metric, Some(value))
}

/// A number that cannot be said (`None`, NaN, infinity) is no sample.
fn optional(metric: Metric, value: Option<Value>) -> Family<'static> {
    let sayable = |value: &Value| !matches!(value, Value::Float(float) if !float.is_finite());
    Family {
        metric,
        samples: value
            .into_iter()
            .filter(sayable)
            .map(|value| sample([""; LABELS_MAX], value))
            .collect(),
    }
}

fn instant(metric: Metric, at: Option<UnixMillis>) -> Family<'static> {
    optional(metric, at.map(|at| Value::Millis(at.0)))
}

pub(super) fn counts(metric: Metric, values: &[(&'static str, u64)]) -> Family<'static> {
    Family {
        metric,
        samples: values
            .iter()
            .map(|(label, count)| sample([label, "", ""], Value::Count(*count)))
            .collect(),
    }
}

/// The families of the exporter's own counters, as gathered. A family whose name is not in the
/// catalog is left out; that there is none is tested where they are registered.
pub fn of_registry(gathered: &[MetricFamily]) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = gathered
        .iter()
        .filter_map(|raw| {
            let metric = Metric::by_name(raw.name())?;
            let samples = raw.get_metric().iter().map(|raw| own_sample(metric, raw));
            Some(Family {
                metric,
                samples: samples.collect(),
            })
        })
        .collect();
    families.sort_by_key(|family| family.metric);
    families
}

fn own_sample(metric: Metric, raw: &RawSample) -> Sample<'_> {
    let mut labels = [""; LABELS_MAX];
    for (place, label) in labels.iter_mut().zip(metric.spec().labels) {
        let pair = raw
            .get_label()
            .iter()
            .find(|pair| pair.name() == label.name);
        *place = pair.map_or("", |pair| pair.value());
    }
    let value = match metric.spec().kind {
        Kind::Counter => Value::Float(raw.get_counter().get_value()),
        Kind::Gauge => Value::Float(raw.get_gauge().get_value()),
        Kind::Histogram(_) => {
            let histogram = raw.get_histogram();
            Value::Histogram(Box::new(Distribution {
                buckets: histogram
                    .get_bucket()
                    .iter()
                    .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
                    .filter(|(bound, _)| bound.is_finite())
                    .collect(),
                sum: histogram.get_sample_sum(),
                count: histogram.get_sample_count(),
            }))
        }
    };
    Sample { labels, value }
}
