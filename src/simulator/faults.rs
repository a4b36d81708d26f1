//! What goes wrong, and when: a plan read from text like
//! `partial=80,slow:statuses=3s@10m+30s/5m`.
//!
//! A fault is `name[:call][=value][@start+duration[/every]]`; without a schedule it is always
//! on. Times count from the start of the plan. The plan only says what is active; what a fault
//! does to an answer is the platform's business.

use std::fmt;

use super::exchange::Call;
use super::fault_table::{COUNT_MAX, MEBIBYTES_MAX, Unit};
pub use super::fault_table::{FaultKind, KINDS, KindRow, help};
use super::span;
use crate::model::time::Millis;

/// A plan is walked for each call. A month in which every day has a swarm of its own takes 217.
pub const FAULTS_MAX: usize = 512;

/// When a fault is active, counted from the start of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// First begins.
    pub start: Millis,
    /// Lasts.
    pub duration: Millis,
    /// Begins again after this long; `None`: once.
    pub every: Option<Millis>,
}

/// Furthest that the platform's clock can be off: a day has a past to look back on, and little
/// future to make up.
pub const CLOCK_SKEW_MAX: Millis = Millis::from_secs(86_400);

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// Limited to one call.
    pub call: Option<Call>,
    /// Percent, count, MiB or milliseconds, as the kind takes it.
    pub value: i64,
    /// When; `None`: always.
    pub schedule: Option<Schedule>,
}

/// An active fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// Percent, count, MiB or milliseconds.
    pub value: i64,
    /// When it became active, counted from the start of the plan.
    pub since: Millis,
}

impl Active {
    /// The value as a percentage.
    pub fn percent(self) -> u32 {
        self.value.clamp(0, 100) as u32
    }
}

/// Faults with their schedules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultPlan {
    faults: Vec<Fault>,
    text: String,
}

/// Why a text is not a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No fault has this name.
    #[error("unknown fault {name:?}: use none, or some of {}", names(|_| true))]
    Name {
        /// As given.
        name: String,
    },
    /// The value is missing or of the wrong kind.
    #[error("fault {name}: {value:?} is not {wanted}")]
    Value {
        /// The fault.
        name: &'static str,
        /// As given; empty if it is missing.
        value: String,
        /// What would be.
        wanted: &'static str,
    },
    /// The call is not one of the platform.
    #[error("fault {name}: unknown call {call:?}: use one of {}", calls())]
    Call {
        /// The fault.
        name: &'static str,
        /// As given.
        call: String,
    },
    /// The fault is not one of single calls.
    #[error("fault {name} cannot be limited to a call: only {} can", names(|row| row.per_call))]
    NotPerCall {
        /// The fault.
        name: &'static str,
    },
    /// The schedule cannot be read.
    #[error(
        "fault {name}: {schedule:?} is not a schedule: write start+duration or start+duration/every, as in 30s+5m/1h"
    )]
    Schedule {
        /// The fault.
        name: &'static str,
        /// As given, without `@`.
        schedule: String,
    },
    /// The schedule makes no sense.
    #[error(
        "fault {name}: {schedule:?} is never off: the duration must be above zero and shorter than the repetition"
    )]
    Endless {
        /// The fault.
        name: &'static str,
        /// As given, without `@`.
        schedule: String,
    },
    /// Too many faults.
    #[error("{given} faults are too many: at most {FAULTS_MAX}")]
    TooMany {
        /// How many.
        given: usize,
    },
}

fn names(wanted: impl Fn(&KindRow) -> bool) -> String {
    let names: Vec<_> = KINDS
        .iter()
        .filter(|row| wanted(row))
        .map(|row| row.name)
        .collect();
    names.join(", ")
}

fn calls() -> String {
    Call::ALL.map(Call::name).join(", ")
}

impl FaultPlan {
    /// Reads a plan; `none` and the empty text are the plan without faults.
    ///
    /// # Errors
    /// [`FaultError`] names the wrong word and what may stand there.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let text = text.trim();
        if text.is_empty() || text == "none" {
            return Ok(Self::default());
        }
        let given = text.split(',').count();
        if given > FAULTS_MAX {
            return Err(FaultError::TooMany { given });
        }
        Ok(Self {
            faults: text
                .split(',')
                .map(|word| Fault::parse(word.trim()))
                .collect::<Result<_, _>>()?,
            text: text.to_owned(),
        })
    }

    /// The faults in the order given.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether a fault is active for a call (`None`: for the platform as a whole). The first of
    /// several wins. A fault that is not limited to a call spares the login.
    pub fn active(&self, kind: FaultKind, call: Option<Call>, elapsed: Millis) -> Option<Active> {
        self.faults
            .iter()
            .filter(|fault| fault.kind == kind)
            .filter(|fault| match (fault.call, call) {
                (Some(limited), Some(call)) => limited == call,
                (Some(_), None) => false,
                (None, call) => call != Some(Call::Token),
            })
            .find_map(|fault| {
                Some(Active {
                    value: fault.value,
                    since: fault.active_since(elapsed)?,
                })
            })
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.faults.is_empty() {
            "none"
        } else {
            &self.text
        })
    }
}

impl std::str::FromStr for FaultPlan {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::parse(text)
    }
}

impl Fault {
    fn parse(word: &str) -> Result<Self, FaultError> {
        let (rest, schedule) = split(word, '@');
        let (rest, value) = split(rest, '=');
        let (name, call) = split(rest, ':');
        let row = KINDS
            .iter()
            .find(|row| row.name == name)
            .ok_or_else(|| FaultError::Name {
                name: name.to_owned(),
            })?;
        let call = call.map(|call| parse_call(row, call)).transpose()?;
        Ok(Self {
            kind: row.kind,
            call,
            value: parse_value(row, value)?,
            schedule: schedule
                .map(|text| parse_schedule(row.name, text))
                .transpose()?,
        })
    }

    /// Whether it is active so long after the start of the plan.
    pub fn is_active(&self, elapsed: Millis) -> bool {
        self.active_since(elapsed).is_some()
    }

    /// When it became active, if it is.
    fn active_since(&self, elapsed: Millis) -> Option<Millis> {
        let Some(schedule) = self.schedule else {
            return Some(Millis::ZERO);
        };
        if elapsed < schedule.start {
            return None;
        }
        let since = match schedule.every {
            Some(every) => elapsed - Millis((elapsed - schedule.start).0 % every.0),
            None => schedule.start,
        };
        (elapsed < since + schedule.duration).then_some(since)
    }
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark)
        .map_or((text, None), |(head, tail)| (head, Some(tail)))
}

fn parse_call(row: &KindRow, text: &str) -> Result<Call, FaultError> {
    if !row.per_call {
        return Err(FaultError::NotPerCall { name: row.name });
    }
    Call::ALL
        .into_iter()
        .find(|call| call.name() == text)
        .ok_or_else(|| FaultError::Call {
            name: row.name,
            call: text.to_owned(),
        })
}

fn parse_value(row: &KindRow, text: Option<&str>) -> Result<i64, FaultError> {
    if let (None, Some(default)) = (text, row.default) {
        return Ok(default);
    }
    let given = text.unwrap_or_default();
    let number = |max| {
        given
            .parse::<i64>()
            .ok()
            .filter(|value| (0..=max).contains(value))
    };
    let (value, wanted) = match row.unit {
        Unit::Nothing => (None, "wanted: it takes no value"),
        Unit::Percent => (number(100), "a percentage from 0 to 100"),
        Unit::Count => (number(COUNT_MAX), "a count from 0 to 200000"),
        Unit::Mebibytes => (number(MEBIBYTES_MAX), "a size in MiB from 0 to 1024"),
        Unit::Span => (
            span::parse(given).map(|span| span.0),
            "a duration like 500ms, 30s or 5m",
        ),
        Unit::SignedSpan => (
            span::parse_signed(given)
                .map(|span| span.0)
                .filter(|span| span.abs() <= CLOCK_SKEW_MAX.0),
            "a duration with a sign up to 24h, like +30s or -5m",
        ),
    };
    value.ok_or_else(|| FaultError::Value {
        name: row.name,
        value: given.to_owned(),
        wanted,
    })
}

fn parse_schedule(name: &'static str, text: &str) -> Result<Schedule, FaultError> {
    let unreadable = || FaultError::Schedule {
        name,
        schedule: text.to_owned(),
    };
    let (once, every) = split(text, '/');
    let (start, duration) = once.split_once('+').ok_or_else(unreadable)?;
    let schedule = Schedule {
        start: span::parse(start).ok_or_else(unreadable)?,
        duration: span::parse(duration).ok_or_else(unreadable)?,
        every: every
            .map(|every| span::parse(every).ok_or_else(unreadable))
            .transpose()?,
    };
    let endless = schedule
        .every
        .is_some_and(|every| schedule.duration >= every);
    if schedule.duration == Millis::ZERO || endless {
        return Err(FaultError::Endless {
            name,
            schedule: text.to_owned(),
        });
    }
    Ok(schedule)
}
