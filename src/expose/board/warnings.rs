//! What is wrong, in plain words: for someone who runs a shift, not the exporter. Pure.
//!
//! The thresholds are those of the shipped alerts or of the defaults that the alerts name; the
//! board only says earlier and softer what they say. Worst first.

use serde::Serialize;

use super::Pipeline;
use crate::expose::state::Duty;
use crate::model::push::ChannelState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::{BreakerState, Health, SnapshotOutcome, View};

/// An accepted snapshot this many intervals old is late: one missed poll is none.
const LATE_INTERVALS: i64 = 3;
/// The default of `divergence.max`.
const DIVERGENCE_MAX: f64 = 0.05;
/// As in the alert on clock skew: a `Date` header resolves one second.
const SKEW_SECONDS_MAX: f64 = 5.0;
/// A batch commits in milliseconds; a minute is no burst.
const BACKLOG_MAX: Millis = Millis::from_secs(60);

/// One sentence or two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    level: Level,
    /// Which figure of the pipeline's health it is about, if one: the page marks that one.
    about: Option<About>,
    text: String,
}

/// Figures of the pipeline's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum About {
    Snapshot,
    Coverage,
    Breaker,
    Divergence,
    Backlog,
    Push,
}

/// How to take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// Do not steer by these figures.
    Error,
    /// Some figures are worse than they should be.
    Warning,
    /// Good to know.
    Note,
}

/// Every warning that holds now.
pub(super) fn warnings(view: &View, pipeline: &Pipeline, now: UnixMillis) -> Vec<Warning> {
    let health = &view.health;
    let mut said = Vec::new();
    let mut say = |level, about, text: String| said.push(Warning { level, about, text });
    exporter(health, pipeline, &mut say);
    match elsewhere(pipeline.duty) {
        Some(text) => say(Level::Note, None, text.to_owned()),
        None => snapshots(health, now, &mut say),
    }
    if let Some(ratio) = health.divergence.ratio.filter(|&r| r > DIVERGENCE_MAX) {
        say(
            Level::Warning,
            Some(About::Divergence),
            format!(
                "The last check found {} of the agents in another state than shown. Their queues are asked again.",
                percent(ratio)
            ),
        );
    }
    if let Some(skew) = health
        .clock_skew_seconds
        .filter(|skew| skew.abs() > SKEW_SECONDS_MAX)
    {
        say(
            Level::Warning,
            None,
            format!(
                "This machine's clock is {:.0} s off. Ages are wrong by as much; time in state is not.",
                skew.abs()
            ),
        );
    }
    if let Some(waits) = pipeline
        .queue_oldest
        .map(|at| now - at)
        .filter(|&w| w > BACKLOG_MAX)
    {
        say(
            Level::Warning,
            Some(About::Backlog),
            format!(
                "State changes have been waiting {} to be stored. Windows come late.",
                span(waits)
            ),
        );
    }
    agents(view, &mut say);
    said.sort_by_key(|warning| warning.level as u8);
    said
}

/// Where agents are shown, if not here.
fn elsewhere(duty: Duty) -> Option<&'static str> {
    match duty {
        Duty::Polls => None,
        Duty::StandsBy => Some(
            "This instance stands by: another one polls, and its board shows the agents. This one takes over when that one is gone.",
        ),
        Duty::WillStore => Some(
            "This instance stores what others poll. It has not reached the queue and the database yet.",
        ),
        Duty::Stores => {
            Some("This instance stores what others poll. Their boards show the agents.")
        }
    }
}

/// Whether the exporter itself can do its work.
fn exporter(
    health: &Health,
    pipeline: &Pipeline,
    say: &mut impl FnMut(Level, Option<About>, String),
) {
    if let Some(silence) = pipeline.silence {
        say(
            Level::Error,
            None,
            format!(
                "The exporter stands still for {}. Restart it.",
                span(silence)
            ),
        );
    }
    if health.authenticated == Some(false) {
        say(
            Level::Error,
            None,
            "Genesys Cloud refuses the exporter's credentials. Check the OAuth client and its secret; doctor tells which.".to_owned(),
        );
    }
    if pipeline.losses > 0 {
        say(
            Level::Error,
            None,
            format!(
                "{} could not be kept. Windows may lack time; the log says when.",
                count(pipeline.losses, "record")
            ),
        );
    }
}

/// Whether what is shown is fresh and believed.
fn snapshots(health: &Health, now: UnixMillis, say: &mut impl FnMut(Level, Option<About>, String)) {
    let Some(accepted_at) = health.accepted_at else {
        if health.authenticated != Some(false) {
            say(
                Level::Note,
                Some(About::Snapshot),
                match refused(health) {
                    Some(why) => format!("No snapshot was accepted yet: {why}."),
                    None => {
                        "No snapshot has arrived yet. The first takes a few seconds.".to_owned()
                    }
                },
            );
        }
        return;
    };
    let age = now - accepted_at;
    match health.breaker {
        BreakerState::Open => say(
            Level::Error,
            Some(About::Breaker),
            format!(
                "Polling is paused, because snapshots failed or were not believed. All figures are {} old.",
                span(age)
            ),
        ),
        BreakerState::HalfOpen => say(
            Level::Warning,
            Some(About::Breaker),
            format!(
                "Polling is being tried again. All figures are {} old.",
                span(age)
            ),
        ),
        BreakerState::Closed if age > Millis(health.poll_interval.0 * LATE_INTERVALS) => say(
            Level::Warning,
            Some(About::Snapshot),
            format!("The last snapshot is {} old.", span(age)),
        ),
        BreakerState::Closed if !health.up => match health.coverage {
            Some(coverage) if coverage < 1.0 => say(
                Level::Warning,
                Some(About::Coverage),
                format!(
                    "The last snapshot named {} of the agents and was not believed. The one before it is shown.",
                    percent(coverage)
                ),
            ),
            _ => say(
                Level::Warning,
                Some(About::Snapshot),
                "The last snapshot failed. The one before it is shown.".to_owned(),
            ),
        },
        BreakerState::Closed => {}
    }
}

/// Why snapshots were not accepted, if any was refused.
fn refused(health: &Health) -> Option<String> {
    SnapshotOutcome::ALL.into_iter().find_map(|outcome| {
        let seen = health.snapshots.get(&outcome).copied().unwrap_or(0);
        let (result, reason) = outcome.labels();
        (seen > 0 && outcome != SnapshotOutcome::Accepted)
            .then(|| format!("one was {result} ({})", reason.replace('_', " ")))
    })
}

/// What concerns some agents only.
fn agents(view: &View, say: &mut impl FnMut(Level, Option<About>, String)) {
    let health = &view.health;
    if health.agents_stale > 0 && health.accepted_at.is_some() {
        say(
            Level::Warning,
            None,
            format!(
                "Nothing has confirmed {} for a long time. Shown as unknown.",
                count(health.agents_stale, "agent")
            ),
        );
    }
    if health.queues_left_out > 0 {
        say(
            Level::Warning,
            None,
            format!(
                "There are too many queues; {} not shown. Raise queues.max, or exclude some.",
                match health.queues_left_out {
                    1 => "1 is".to_owned(),
                    many => format!("{many} are"),
                }
            ),
        );
    }
    if health.budget_remaining == 0 && health.joins_pending > 0 {
        say(
            Level::Note,
            None,
            format!(
                "The request budget of this minute is spent; {} to be asked.",
                match health.joins_pending {
                    1 => "1 agent waits".to_owned(),
                    many => format!("{many} agents wait"),
                }
            ),
        );
    }
    if let Some(push) = &health.push {
        let live = push.channels.get(&ChannelState::Live).copied().unwrap_or(0);
        let wanted: u64 = push.channels.values().sum();
        if live < wanted {
            say(
                Level::Note,
                Some(About::Push),
                format!(
                    "{live} of {wanted} notification channels are live. Changes are found by polling meanwhile."
                ),
            );
        }
    }
    if view.organisation.stuck > 0 {
        say(
            Level::Note,
            None,
            format!(
                "{} on call without any open interaction. Look at them in Genesys Cloud.",
                match view.organisation.stuck {
                    1 => "1 agent is".to_owned(),
                    many => format!("{many} agents are"),
                }
            ),
        );
    }
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", (ratio * 100.0).floor())
}

fn span(span: Millis) -> String {
    let seconds = span.0.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::push::PushView;

    const NOW: UnixMillis = UnixMillis(1_715_675_400_000);

    fn sound() -> View {
        View {
            health: Health {
                up: true,
                accepted_at: Some(UnixMillis(NOW.0 - 20_000)),
                coverage: Some(1.0),
                poll_interval: Millis::from_secs(15),
                budget_remaining: 200,
                authenticated: Some(true),
                ..Health::default()
            },
            ..View::default()
        }
    }

    fn pipeline() -> Pipeline {
        Pipeline {
            duty: Duty::Polls,
            status: serde_json::Value::Null,
            queue_oldest: None,
            losses: 0,
            silence: None,
            org: "acme".to_owned(),
            organisations: Vec::new(),
        }
    }

    fn said(change: impl FnOnce(&mut View, &mut Pipeline)) -> Vec<(Level, String)> {
        let (mut view, mut pipeline) = (sound(), pipeline());
        change(&mut view, &mut pipeline);
        let warnings = warnings(&view, &pipeline, NOW).into_iter();
        warnings
            .map(|warning| (warning.level, warning.text))
            .collect()
    }

    fn one(change: impl FnOnce(&mut View, &mut Pipeline)) -> (Level, String) {
        let mut said = said(change);
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }

    #[test]
    fn a_sound_pipeline_has_nothing_to_say() {
        assert_eq!(said(|_, _| {}), []);
    }

    #[test]
    fn each_trouble_has_its_sentence() {
        let (level, text) = one(|view, _| view.health.breaker = BreakerState::Open);
        assert_eq!(level, Level::Error);
        assert!(
            text.contains("paused") && text.contains("20 s old"),
            "{text}"
        );
        let (_, text) = one(|view, _| view.health.breaker = BreakerState::HalfOpen);
        assert!(text.contains("tried again"), "{text}");
        let (level, text) =
            one(|view, _| view.health.accepted_at = Some(UnixMillis(NOW.0 - 180_000)));
        assert_eq!(
            (level, &*text),
            (Level::Warning, "The last snapshot is 3 min old.")
        );
        let (_, text) = one(|view, _| {
            view.health.up = false;
            view.health.coverage = Some(0.899);
        });
        assert!(text.contains("named 89 %"), "never rounded up: {text}");
        let (_, text) = one(|view, _| view.health.up = false);
        assert!(text.contains("failed"), "{text}");
        let (level, text) = one(|view, _| view.health.authenticated = Some(false));
        assert_eq!(level, Level::Error);
        assert!(text.contains("credentials"), "{text}");
        let (_, text) = one(|view, _| view.health.divergence.ratio = Some(0.12));
        assert!(text.contains("12 %"), "{text}");
        let (_, text) = one(|view, _| view.health.clock_skew_seconds = Some(-61.2));
        assert!(text.contains("61 s off"), "{text}");
        let (_, text) = one(|view, _| view.health.queues_left_out = 7);
        assert!(text.contains("7 are not shown"), "{text}");
        let (_, text) = one(|view, _| view.health.agents_stale = 1);
        assert!(text.contains("confirmed 1 agent for"), "{text}");
        let (_, text) = one(|view, _| {
            view.health.budget_remaining = 0;
            view.health.joins_pending = 7;
        });
        assert!(text.contains("7 agents wait"), "{text}");
        let (level, text) = one(|view, _| view.organisation.stuck = 2);
        assert_eq!(level, Level::Note);
        assert!(text.starts_with("2 agents are on call"), "{text}");
        let (_, text) = one(|_, pipeline| pipeline.losses = 3);
        assert!(text.starts_with("3 records"), "{text}");
        let (_, text) = one(|_, pipeline| pipeline.silence = Some(Millis::from_secs(100)));
        assert!(text.contains("stands still for 100 s"), "{text}");
        let (_, text) =
            one(|_, pipeline| pipeline.queue_oldest = Some(UnixMillis(NOW.0 - 7_200_000)));
        assert!(text.contains("2 h"), "{text}");
        let (_, text) = one(|view, _| {
            view.health.push = Some(PushView {
                channels: BTreeMap::from([(ChannelState::Live, 2), (ChannelState::Absent, 1)]),
                ..PushView::default()
            });
        });
        assert!(text.starts_with("2 of 3"), "{text}");
    }

    #[test]
    fn before_the_first_snapshot_it_says_what_is_awaited() {
        let (level, text) = one(|view, _| view.health = Health::default());
        assert_eq!(level, Level::Note);
        assert!(text.contains("yet"), "{text}");
        let (_, text) = one(|view, _| {
            view.health = Health {
                snapshots: BTreeMap::from([(SnapshotOutcome::RejectedNoRegistry, 1)]),
                ..Health::default()
            };
        });
        assert!(text.contains("rejected (no registry)"), "{text}");
    }

    #[test]
    fn who_does_not_poll_says_where_agents_are_shown_and_waits_for_no_snapshot() {
        for (duty, words) in [
            (Duty::StandsBy, "stands by"),
            (Duty::WillStore, "has not reached"),
            (Duty::Stores, "Their boards show the agents"),
        ] {
            let (level, text) = one(|view, pipeline| {
                view.health = Health::default();
                pipeline.duty = duty;
            });
            assert_eq!(level, Level::Note);
            assert!(text.contains(words), "{duty:?}: {text}");
        }
    }

    #[test]
    fn a_warning_says_which_figure_it_is_about() {
        let about = |change: fn(&mut View, &mut Pipeline)| {
            let (mut view, mut pipeline) = (sound(), pipeline());
            change(&mut view, &mut pipeline);
            warnings(&view, &pipeline, NOW)[0].about
        };
        let of_snapshot = about(|view, _| view.health.up = false);
        assert_eq!(of_snapshot, Some(About::Snapshot));
        let of_coverage = about(|view, _| {
            view.health.up = false;
            view.health.coverage = Some(0.5);
        });
        assert_eq!(of_coverage, Some(About::Coverage));
        let of_breaker = about(|view, _| view.health.breaker = BreakerState::Open);
        assert_eq!(of_breaker, Some(About::Breaker));
        let of_divergence = about(|view, _| view.health.divergence.ratio = Some(0.5));
        assert_eq!(of_divergence, Some(About::Divergence));
        let of_backlog = about(|_, pipeline| pipeline.queue_oldest = Some(UnixMillis(0)));
        assert_eq!(of_backlog, Some(About::Backlog));
        assert_eq!(about(|view, _| view.organisation.stuck = 1), None);
    }

    #[test]
    fn the_worst_comes_first() {
        let levels: Vec<Level> = said(|view, pipeline| {
            view.organisation.stuck = 1;
            view.health.divergence.ratio = Some(0.5);
            pipeline.losses = 1;
        })
        .into_iter()
        .map(|(level, _)| level)
        .collect();
        assert_eq!(levels, [Level::Error, Level::Warning, Level::Note]);
    }
}
