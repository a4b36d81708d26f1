//! The auditor takes a run as it was, and notices each kind of run that was not.

use std::sync::Arc;

use genesys_cloud_exporter::model::state::{Presence, RoutingState};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::view::View;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::audit::rows::Row;
use crate::audit::truth::Truth;
use crate::audit::{Auditor, Complaints};
use crate::harness::observe::{Observation, Observed, Observer as _, Raw, Recording};
use crate::harness::options::{MINUTE, Options};
use crate::harness::swarm::RECOVERY;
use crate::harness::world::World;
use crate::runs::{calm, terms, truth};

/// A recorded run, its rows and its truth: all that an auditor sees.
#[derive(Clone)]
struct Evidence {
    options: Options,
    log: Vec<Observed>,
    rows: Vec<Row>,
    truth: Truth,
}

impl Evidence {
    fn recorded() -> Self {
        let org = OrgSpec {
            tempo: 6.0,
            volatile_share: 0.0,
            ..OrgSpec::new(8, 2, 11)
        };
        let mut options = Options::calm(org, RECOVERY + 35 * MINUTE);
        options.history = 10;
        let mut recording = Recording::default();
        let mut world = World::new(&options, &mut recording);
        let rows = world.run().iter().map(Row::of).collect();
        let truth = truth(&mut world, &options);
        drop(world);
        Self {
            options,
            log: recording.0,
            rows,
            truth,
        }
    }

    fn complaints(mut self) -> Complaints {
        let mut auditor = Auditor::new(terms(&self.options));
        for observed in &self.log {
            auditor.observe(observed);
        }
        auditor.finish(&self.rows, &mut self.truth, &calm(&self.options));
        auditor.complaints
    }

    /// Positions in the log of what is wanted.
    fn find(&self, wanted: impl Fn(&Observation) -> bool) -> Vec<usize> {
        let all = self.log.iter().enumerate();
        all.filter(|(_, o)| wanted(&o.what))
            .map(|(k, _)| k)
            .collect()
    }

    /// Changes the view shown in the middle of the run, or last.
    fn doctor_view(&mut self, last: bool, change: impl FnOnce(&mut View)) {
        let shown = self.find(|what| matches!(what, Observation::Published(_)));
        let position = shown[if last {
            shown.len() - 1
        } else {
            shown.len() / 2
        }];
        if let Observation::Published(view) = &mut self.log[position].what {
            change(Arc::make_mut(view));
        }
    }

    fn insert(&mut self, position: usize, what: Observation) {
        let like = self.log[position].clone();
        self.log.insert(position, Observed { what, ..like });
    }

    fn snapshots_sent(&self) -> Vec<usize> {
        self.find(
            |what| matches!(what, Observation::Sent { path, .. } if path.ends_with("/statuses")),
        )
    }
}

fn sent(id: u64, path: &str) -> Observation {
    Observation::Sent {
        id,
        path: path.to_owned(),
    }
}

fn notices(evidence: &Evidence, kind: &str, doctor: impl FnOnce(&mut Evidence)) {
    let mut doctored = evidence.clone();
    doctor(&mut doctored);
    let kinds = doctored.complaints().kinds();
    assert!(kinds.contains(&kind), "{kind} went unnoticed: {kinds:?}");
}

#[test]
fn what_was_is_accepted_and_what_was_not_is_noticed() {
    let evidence = Evidence::recorded();
    evidence.clone().complaints().assert_none("as it was");
    requests(&evidence);
    views(&evidence);
    counters(&evidence);
    rows(&evidence);
}

fn requests(evidence: &Evidence) {
    let snapshots = evidence.snapshots_sent();
    let middle = snapshots[snapshots.len() / 2];
    notices(evidence, "over budget", |e| {
        for id in 0..300 {
            e.insert(middle, sent(1_000_000 + id, "/api/v2/users"));
        }
    });
    notices(evidence, "too many at once", |e| {
        for id in 0..9 {
            e.insert(middle, sent(1_000_000 + id, "/api/v2/users"));
        }
    });
    notices(evidence, "before Retry-After", |e| {
        let raw = Raw {
            status: Some(429),
            retry_after: Some("30".to_owned()),
            body: bytes::Bytes::new(),
        };
        e.insert(
            middle,
            Observation::Answered {
                id: 1_000_000,
                path: "/api/v2/users".to_owned(),
                reached: 0,
                raw,
            },
        );
    });
    notices(evidence, "snapshot while open", |e| {
        let message = "the breaker opens for 60 s: the last snapshot failed".to_owned();
        let kind = "breaker";
        e.insert(middle, Observation::Said { kind, message });
    });
    notices(evidence, "hammering", |e| {
        for id in 0..20 {
            e.insert(middle, sent(1_000_000 + id, "/api/v2/users/statuses"));
        }
    });
}

fn views(evidence: &Evidence) {
    notices(evidence, "closed early", |e| {
        let until = e.options.end() + 60 * MINUTE;
        let user = "u".to_owned();
        e.insert(100, Observation::Closed { user, until });
    });
    let other = |state| match state {
        RoutingState::Available => RoutingState::OnCall,
        _ => RoutingState::Available,
    };
    notices(evidence, "state without evidence", |e| {
        e.doctor_view(false, |view| {
            view.agents[3].state = other(view.agents[3].state);
        });
    });
    notices(evidence, "went back", |e| {
        e.doctor_view(false, |view| {
            view.agents[3].entered_at = Some(UnixMillis(1));
        });
    });
    notices(evidence, "moved without an answer", |e| {
        // The last answer about an agent before it moved is taken away.
        let answers = e.find(
            |what| matches!(what, Observation::Answered { path, .. } if path.ends_with("/state")),
        );
        let half = answers.len() / 2;
        let mut kept = Vec::new();
        for (position, observed) in e.log.drain(..).enumerate() {
            if answers.binary_search(&position).is_err() || position < answers[half] {
                kept.push(observed);
            }
        }
        e.log = kept;
    });
    notices(evidence, "presence without evidence", |e| {
        e.doctor_view(false, |view| {
            view.agents[3].presence = Presence::parse("Training");
        });
    });
    notices(evidence, "wrong age", |e| {
        e.doctor_view(false, |view| view.agents[3].stale = true);
    });
    notices(evidence, "stale and shown", |e| {
        e.doctor_view(false, |view| view.agents[3].stale = true);
    });
    notices(evidence, "confirmed ahead", |e| {
        let ahead = UnixMillis(e.options.end() + MINUTE);
        e.doctor_view(false, |view| view.agents[3].confirmed_until = Some(ahead));
    });
}

fn counters(evidence: &Evidence) {
    let hours = Millis::from_secs(5 * 3_600);
    notices(evidence, "a counter fell", |e| {
        e.doctor_view(true, |view| {
            let time = &mut view.organisation.time[1];
            *time = *time - hours;
        });
    });
    notices(evidence, "a counter fell", |e| {
        e.doctor_view(true, |view| {
            let queue = &mut view.queues[0];
            queue.time[1] = queue.time[1] - hours;
        });
    });
    notices(evidence, "time not conserved", |e| {
        e.doctor_view(true, |view| {
            view.organisation.time[0] = view.organisation.time[0] + hours;
        });
    });
    notices(evidence, "time not conserved", |e| {
        e.doctor_view(true, |view| view.health.debt = hours);
    });
    notices(evidence, "wrong state counted", |e| {
        e.doctor_view(true, |view| {
            view.organisation.time[0] = view.organisation.time[0] + hours;
        });
    });
    notices(evidence, "nothing counted", |e| {
        e.log
            .retain(|o| !matches!(o.what, Observation::Published(_)));
    });
}

fn rows(evidence: &Evidence) {
    let busy = evidence
        .rows
        .iter()
        .rposition(|row| row.states[0] > 1 && row.states[2] > 1 && row.unknown == 0)
        .expect("somebody answers a call in five minutes");
    let altered = |kind: &str, change: &dyn Fn(&mut Row)| {
        notices(evidence, kind, |e| change(&mut e.rows[busy]));
    };
    let shift = |row: &mut Row| {
        row.states[0] += 1;
        row.states[2] -= 1;
    };
    altered("exact and wrong", &shift);
    altered("known and wrong", &shift);
    altered("known and wrong", &|row| {
        row.states[0] += 2;
        row.states[2] -= 2;
        row.estimated = 1;
    });
    altered("exact and wrong", &|row| row.transitions -= 1);
    altered("invented transitions", &|row| row.transitions += 1);
    altered("does not add up", &|row| row.unknown = 1);
    altered("does not add up", &|row| row.estimated = row.covered + 1);
    altered("does not add up", &|row| {
        row.states[0] += row.states[2] + 1;
        row.states[2] = -1;
    });
    altered("not a window", &|row| row.end += 1);
    altered("nobody", &|row| row.user.push('x'));
    notices(evidence, "twice", |e| e.rows.push(e.rows[busy].clone()));
    let calm = calm(&evidence.options);
    let judged = |row: &Row| row.start >= calm.from && row.end <= calm.to;
    let last = evidence
        .rows
        .iter()
        .rposition(|row| judged(row) && row.states[1] == 0)
        .expect("somebody works in calm");
    notices(evidence, "missing", |e| drop(e.rows.remove(last)));
    notices(evidence, "not whole in calm", |e| {
        e.rows[last].covered -= 1;
    });
}
