//! What happens in a simulated day, and when: the simulator's own faults on a schedule. Pure.
//!
//! Places are parts of the span and lengths are bounded by it, so that two hours see what a day
//! sees. Chosen so that nothing hides anything else, and each has time to end. Agents are called stuck
//! after a quarter of an hour, so it takes an hour and a half to see those.

use std::fmt::Write as _;
use std::ops::Range;

use crate::model::time::Millis;
use crate::simulator::faults::{FaultError, FaultPlan};

/// One thing that goes wrong.
struct Incident {
    /// As fault strings name it; empty: it is not the platform's.
    fault: &'static str,
    /// Begins after this part of the span, in thousandths.
    at_per_mille: i64,
    /// Lasts so long …
    lasts: Millis,
    /// … and no longer than this part of the span, in thousandths.
    lasts_per_mille: i64,
    /// For whoever looks at the pictures.
    says: &'static str,
}

const fn minutes(count: i64) -> Millis {
    Millis::from_secs(count * 60)
}

/// In a day that begins at midnight UTC the outage falls into the afternoon's shift change.
const DAY: [Incident; 8] = [
    Incident {
        fault: "malformed=2",
        at_per_mille: 90,
        lasts: minutes(30),
        lasts_per_mille: 30,
        says: "some records of the snapshot cannot be read",
    },
    Incident {
        fault: "stuck-on-call=2",
        at_per_mille: 200,
        lasts: minutes(90),
        lasts_per_mille: 250,
        says: "two agents are stuck on a call that does not exist",
    },
    Incident {
        fault: "divergence=20",
        at_per_mille: 350,
        lasts: minutes(90),
        lasts_per_mille: 63,
        says: "the snapshot's cache disagrees with the platform; a check sees it",
    },
    Incident {
        fault: "partial=70",
        at_per_mille: 480,
        lasts: minutes(1),
        lasts_per_mille: 10,
        says: "snapshots name 70 % of the agents and are rejected",
    },
    Incident {
        fault: "http-503",
        at_per_mille: 590,
        lasts: minutes(20),
        lasts_per_mille: 167,
        says: "the platform is out of order: the breaker opens, figures stand still",
    },
    Incident {
        fault: "throttle=20s",
        at_per_mille: 790,
        lasts: minutes(10),
        lasts_per_mille: 60,
        says: "the platform throttles",
    },
    Incident {
        fault: "slow=1500ms",
        at_per_mille: 870,
        lasts: minutes(30),
        lasts_per_mille: 50,
        says: "the platform answers slowly",
    },
    Incident {
        fault: "",
        at_per_mille: 940,
        lasts: minutes(10),
        lasts_per_mille: 30,
        says: "the exporter's disk is slow: events wait to be stored",
    },
];

/// Divergence is checked once an hour by default, and at least so often in a span, so that a
/// short one has checks too.
const CHECKS_MIN: i64 = 24;
const CHECK_EVERY: Millis = minutes(60);

/// What happens, and when; times count from the first sample.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// What the platform does.
    pub faults: FaultPlan,
    /// When the exporter's disk is slow.
    pub slow_disk: Option<Range<Millis>>,
    /// Beginning, length and meaning of everything, in order.
    pub told: Vec<(Millis, Millis, &'static str)>,
}

impl Script {
    /// A day of trouble within `span`.
    pub fn day(span: Millis) -> Self {
        let mut script = Self::default();
        let mut plan = String::new();
        for incident in &DAY {
            let part = |per_mille: i64| Millis(span.0 / 1_000 * per_mille / 1_000 * 1_000);
            let (at, lasts) = (part(incident.at_per_mille), part(incident.lasts_per_mille));
            let lasts = lasts.min(incident.lasts).max(Millis::from_secs(1));
            script.told.push((at, lasts, incident.says));
            if incident.fault.is_empty() {
                script.slow_disk = Some(at..at + lasts);
                continue;
            }
            let comma = if plan.is_empty() { "" } else { "," };
            let (fault, at, lasts) = (incident.fault, at.0 / 1_000, lasts.0 / 1_000);
            write!(plan, "{comma}{fault}@{at}s+{lasts}s").expect("writing to a string cannot fail");
        }
        script.faults = FaultPlan::parse(&plan).expect("a test reads this plan");
        script
    }

    /// What somebody asked for instead.
    ///
    /// # Errors
    /// If it is no plan of faults.
    pub fn of(faults: &str) -> Result<Self, FaultError> {
        Ok(Self {
            faults: FaultPlan::parse(faults)?,
            ..Self::default()
        })
    }
}

/// How often divergence is checked in a span.
pub(super) fn check_every(span: Millis) -> Millis {
    CHECK_EVERY.min(Millis(span.0 / CHECKS_MIN)).max(minutes(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_an_hour_see_the_same() {
        let day = Script::day(minutes(24 * 60));
        assert_eq!(day.faults.faults().len() + 1, DAY.len());
        let outage = day
            .told
            .iter()
            .find(|(.., says)| says.contains("out of order"));
        assert_eq!(outage.map(|(_, lasts, _)| *lasts), Some(minutes(20)));
        let hour = Script::day(minutes(60));
        assert_eq!(hour.told.len(), day.told.len());
        for script in [&day, &hour] {
            // Agents who are stuck are in nobody's way.
            let told = script.told.iter();
            let others: Vec<_> = told.filter(|(.., says)| !says.contains("stuck")).collect();
            assert_eq!(others.len() + 1, DAY.len());
            let ends = others.iter().map(|(at, lasts, _)| *at + *lasts);
            let next = others.iter().skip(1).map(|(at, ..)| *at);
            assert!(ends.zip(next).all(|(end, next)| end <= next), "{script:?}");
        }
        assert_eq!(check_every(minutes(24 * 60)), minutes(60));
        assert_eq!(check_every(minutes(120)), minutes(5));
    }

    #[test]
    fn other_faults_can_be_asked_for() {
        assert_eq!(Script::of("none").unwrap(), Script::default());
        assert!(Script::of("nonsense").is_err());
    }
}
