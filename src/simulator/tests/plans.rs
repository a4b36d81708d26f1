//! The grammar of fault plans, with the exact text of every mistake.

use super::super::exchange::Call;
use super::super::fault_table::help;
use super::super::faults::{Active, FaultKind, Schedule};
use super::*;

fn mistake(plan: &str) -> String {
    FaultPlan::parse(plan).unwrap_err().to_string()
}

#[test]
fn a_plan_is_read_as_it_is_written() {
    let plan = FaultPlan::parse(" partial=80@10m+30s/5m , slow:statuses=3s,duplicates ").unwrap();
    let [partial, slow, duplicates] = plan.faults() else {
        panic!("three faults: {plan:?}")
    };
    assert_eq!(
        (partial.kind, partial.call, partial.value),
        (FaultKind::Partial, None, 80)
    );
    let schedule = Schedule {
        start: Millis::from_secs(600),
        duration: Millis::from_secs(30),
        every: Some(Millis::from_secs(300)),
    };
    assert_eq!(partial.schedule, Some(schedule));
    assert_eq!(
        (slow.kind, slow.call, slow.value),
        (FaultKind::Slow, Some(Call::Statuses), 3_000)
    );
    assert_eq!(
        (duplicates.kind, duplicates.schedule),
        (FaultKind::Duplicates, None)
    );
    assert_eq!(
        plan.to_string(),
        "partial=80@10m+30s/5m , slow:statuses=3s,duplicates"
    );
}

#[test]
fn no_faults_are_no_faults() {
    for text in ["none", "", "  "] {
        let plan = FaultPlan::parse(text).unwrap();
        assert!(plan.faults().is_empty());
        assert_eq!(plan.to_string(), "none");
    }
}

#[test]
fn a_schedule_is_half_open_and_repeats() {
    let plan = FaultPlan::parse("html@10s+5s/1m").unwrap();
    let at = |ms| plan.active(FaultKind::Html, Some(Call::Users), Millis(ms));
    let since = |seconds| {
        Some(Active {
            value: 0,
            since: Millis::from_secs(seconds),
        })
    };
    assert_eq!(at(9_999), None);
    assert_eq!(at(10_000), since(10));
    assert_eq!(at(14_999), since(10));
    assert_eq!(at(15_000), None);
    assert_eq!(at(70_000), since(70));
    assert_eq!(at(75_000), None);
    let once = FaultPlan::parse("html@10s+5s").unwrap();
    assert_eq!(once.active(FaultKind::Html, None, Millis(70_000)), None);
}

#[test]
fn a_fault_limited_to_a_call_spares_the_others_and_one_that_is_not_spares_the_login() {
    let plan = FaultPlan::parse("http-503:token,slow=1s").unwrap();
    let active = |kind, call| plan.active(kind, Some(call), Millis::ZERO).is_some();
    assert!(active(FaultKind::Http503, Call::Token));
    assert!(!active(FaultKind::Http503, Call::Users));
    assert!(active(FaultKind::Slow, Call::Users));
    assert!(!active(FaultKind::Slow, Call::Token));
}

#[test]
fn mistakes_are_named() {
    let names = "partial, stale-cache, divergence, stuck-on-call, stuck-in-cache, duplicates, \
        out-of-order, malformed, unknown-state, no-history, registry-shrink, expand-missing, shifting-pages, \
        stale-details, clock-skew, http-500, http-502, http-503, http-504, throttle, unauthorised, forbidden, login-refused, html, empty, \
        empty-body, huge-body, slow, slow-body, cut-body, socket-drop, socket-silent, socket-closing, \
        evicted-channels, rejected-topics, lost-events, duplicate-events, reordered-events";
    assert_eq!(
        mistake("duplicates,particle=80"),
        format!("unknown fault \"particle\": use none, or some of {names}")
    );
    assert_eq!(
        mistake("duplicates,"),
        format!("unknown fault \"\": use none, or some of {names}")
    );
    for (plan, message) in [
        (
            "partial",
            "fault partial: \"\" is not a percentage from 0 to 100",
        ),
        (
            "partial=101",
            "fault partial: \"101\" is not a percentage from 0 to 100",
        ),
        (
            "html=1",
            "fault html: \"1\" is not wanted: it takes no value",
        ),
        (
            "slow=fast",
            "fault slow: \"fast\" is not a duration like 500ms, 30s or 5m",
        ),
        (
            "clock-skew=5m",
            "fault clock-skew: \"5m\" is not a duration with a sign up to 24h, like +30s or -5m",
        ),
        (
            "stuck-on-call=-1",
            "fault stuck-on-call: \"-1\" is not a count from 0 to 200000",
        ),
        (
            "huge-body=9999",
            "fault huge-body: \"9999\" is not a size in MiB from 0 to 1024",
        ),
        (
            "html:nowhere",
            "fault html: unknown call \"nowhere\": use one of token, statuses, routing-state, users, user, queues, members, routing-status, presence, presence-bulk, user-queues, definitions, system-presences, details, agent-status, conversations, channels, channel, subscriptions, available-topics",
        ),
        (
            "html@noon",
            "fault html: \"noon\" is not a schedule: write start+duration or start+duration/every, as in 30s+5m/1h",
        ),
        (
            "html@0s+1m/1m",
            "fault html: \"0s+1m/1m\" is never off: the duration must be above zero and shorter than the repetition",
        ),
    ] {
        assert_eq!(mistake(plan), message);
    }
    assert!(mistake("partial:users=80").starts_with(
        "fault partial cannot be limited to a call: only http-500, http-502, http-503, http-504, throttle,"
    ));
    assert_eq!(
        mistake(&"html,".repeat(512)),
        "513 faults are too many: at most 512"
    );
}

#[test]
fn the_help_text_writes_every_fault_as_a_plan_does() {
    let help = help();
    assert!(help.contains("\n  slow[:CALL]=DURATION"), "{help}");
    assert!(help.contains("  throttle[:CALL][=DURATION]"), "{help}");
    assert!(help.contains("  partial=PERCENT "), "{help}");
    assert!(help.contains("  no-history "), "{help}");
    assert_eq!(
        help.lines().count(),
        FaultKind::ReorderedEvents as usize + 1 + 2
    );
}
