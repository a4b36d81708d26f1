//! Requests: never more a minute than budgeted, none before Retry-After has run out, no snapshot
//! while the breaker is open.

use std::collections::{BTreeMap, VecDeque};

use super::answers::snapshot_page;
use super::{Complaints, Terms};
use crate::harness::observe::{Observation, Observed, Raw};

const MINUTE: i64 = 60_000;

/// Requests that one failed snapshot may cost: itself and two repeats.
const ATTEMPTS: usize = 3;

pub(crate) struct Requests {
    terms: Terms,
    recent: VecDeque<i64>,
    /// Until when the platform has asked for silence.
    silent_until: i64,
    out: BTreeMap<u64, String>,
    /// Until when the exporter says that it leaves the platform alone.
    open_until: i64,
    /// Snapshot requests since the last answer that was one.
    failing: Vec<i64>,
    pub(crate) sent: usize,
    pub(crate) most_in_a_minute: usize,
    pub(crate) throttled: usize,
    pub(crate) opened: usize,
    /// Questions about what one agent works on.
    pub(crate) after_call: usize,
}

impl Requests {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            recent: VecDeque::new(),
            silent_until: 0,
            out: BTreeMap::new(),
            open_until: 0,
            failing: Vec::new(),
            sent: 0,
            most_in_a_minute: 0,
            throttled: 0,
            opened: 0,
            after_call: 0,
        }
    }

    pub(crate) fn observe(&mut self, observed: &Observed, complaints: &mut Complaints) {
        let at = observed.at;
        match &observed.what {
            Observation::Sent { id, path } => self.sent(at, *id, path, complaints),
            Observation::Answered { id, path, raw, .. } => self.answered(at, *id, path, raw),
            Observation::Said { kind, message } if *kind == "breaker" => {
                if let Some(seconds) = pause(message) {
                    self.opened += 1;
                    self.open_until = at + seconds * 1_000;
                }
            }
            Observation::Started => {
                self.out.clear();
                self.open_until = 0;
                self.failing.clear();
            }
            _ => {}
        }
    }

    fn sent(&mut self, at: i64, id: u64, path: &str, complaints: &mut Complaints) {
        self.sent += 1;
        self.after_call += usize::from(path.starts_with("/api/v2/analytics/agents/"));
        while self
            .recent
            .front()
            .is_some_and(|first| at - first >= MINUTE)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.most_in_a_minute = self.most_in_a_minute.max(self.recent.len());
        if self.recent.len() > self.terms.requests_per_minute {
            let count = self.recent.len();
            complaints.add("over budget", || {
                format!("{count} in a minute at {at}: {path}")
            });
        }
        if at < self.silent_until {
            let left = self.silent_until - at;
            complaints.add("before Retry-After", || {
                format!("{left} ms too early at {at}: {path}")
            });
        }
        self.out.insert(id, path.to_owned());
        if self.out.len() > self.terms.max_in_flight {
            let out = self.out.len();
            complaints.add("too many at once", || format!("{out} at {at}"));
        }
        if snapshot_page(path).is_some() {
            if at < self.open_until {
                let left = self.open_until - at;
                complaints.add("snapshot while open", || format!("{left} ms early at {at}"));
            }
            self.snapshot(at, complaints);
        }
    }

    /// After so many failures in a row there is one probe a pause, whatever the log says.
    fn snapshot(&mut self, at: i64, complaints: &mut Complaints) {
        self.failing.push(at);
        let free = self.terms.breaker_failures * ATTEMPTS;
        let late = &self.failing[free.min(self.failing.len())..];
        let hammered = late.iter().filter(|sent| at - **sent < MINUTE).count();
        if hammered > 2 * ATTEMPTS {
            complaints.add("hammering", || {
                format!("{hammered} snapshots in the minute before {at}, all failing")
            });
        }
    }

    fn answered(&mut self, at: i64, id: u64, path: &str, raw: &Raw) {
        self.out.remove(&id);
        if raw.status == Some(429) {
            self.throttled += 1;
            let told = raw
                .retry_after
                .as_deref()
                .and_then(|t| t.parse::<i64>().ok());
            self.silent_until = self.silent_until.max(at + told.unwrap_or(0) * 1_000);
        }
        // 429 and 401 are no failures, and what is answered at all may be believed.
        if snapshot_page(path).is_some() && matches!(raw.status, Some(200 | 401 | 429)) {
            self.failing.clear();
        }
    }
}

/// How long the breaker says it is open.
fn pause(message: &str) -> Option<i64> {
    let rest = message.strip_prefix("the breaker opens for ")?;
    rest.split(' ')
        .next()?
        .parse::<f64>()
        .ok()
        .map(|s| s as i64)
}
