//! *Agent detail*: single agents, by id. Needs `metrics.per_agent`.

use serde_json::{Value, json};

use super::dashboard::Dashboard;
use super::panel::{Panel, STATE_COLOURS, Step, thresholds};

const LONG: &[Step] = &[
    (None, "text"),
    (Some(1_800.0), "yellow"),
    (Some(3_600.0), "red"),
];
/// The order of the states as numbers, for the timeline: there a series has one number a time.
const NUMBERS: [&str; 5] = ["available", "on_call", "wrap_up", "not_ready", "unknown"];

pub(crate) fn build() -> Value {
    Dashboard::new(
        "genesyscloud-agents",
        "Genesys Cloud / Agent detail",
        "Single agents by id: state over time, time in the current state, shares. Empty unless metrics.per_agent is set; think of those it shows before you share it.",
        "now-1h",
    )
    .variable("agent", "Agent", "label_values(genesyscloud_agent_state_entered_timestamp_seconds{{}}, agent)", false)
    .row("All agents", everybody())
    .row("Chosen agents", chosen())
    .build()
}

fn everybody() -> Vec<Panel> {
    let mut panels: Vec<_> = STATE_COLOURS
        .iter()
        .map(|(state, label, colour)| {
            let expr = format!(r#"sum(genesyscloud_agent_state{{{{}}, state="{state}"}})"#);
            let description =
                format!("Agents whose routing state is {state}, volatile ones included.");
            Panel::stat(label, &description, "short", &[(None, *colour)])
                .query(&expr, label)
                .size(4, 4)
        })
        .collect();
    panels.push(
        Panel::stat(
            "Agents",
            "Agents with series of their own.",
            "short",
            super::panel::NEUTRAL,
        )
        .query(
            "count(genesyscloud_agent_state_entered_timestamp_seconds{{}})",
            "Agents",
        )
        .size(4, 4),
    );
    let longest = |state: &str, title: &str, description: &str| {
        let expr = format!(
            r#"topk(20,
  (time() - sum by (agent) (genesyscloud_agent_state_entered_timestamp_seconds{{{{}}}}))
    and on (agent)
  (sum by (agent) (genesyscloud_agent_state{{{{}}, state="{state}"}}) == 1)
)"#
        );
        Panel::table(title, description, "In it for")
            .instant(&expr)
            .columns(&[("agent", "Agent"), ("Value", "In it for")], &["Time"])
            .overriding(
                "In it for",
                &[
                    ("unit", json!("dthms")),
                    ("custom.width", json!(120)),
                    ("custom.cellOptions", json!({ "type": "color-text" })),
                    ("thresholds", thresholds(LONG)),
                ],
            )
            .size(8, 12)
    };
    panels.push(
        longest(
            "on_call",
            "Longest on call",
            "The twenty agents who have been on a call longest; much longer than usual may mean stuck.",
        )
        .runbook("GenesysCloudAgentStuckOnCall"),
    );
    panels.push(longest(
        "wrap_up",
        "Longest in wrap-up",
        "The twenty agents who have been in after-call work longest.",
    ));
    panels.push(longest(
        "available",
        "Longest idle",
        "The twenty agents who have waited for a call longest.",
    ));
    panels
}

fn chosen() -> Vec<Panel> {
    let term = |(at, state): (usize, &&str)| {
        format!(
            r#"{} * sum by (agent) (genesyscloud_agent_state{{{{}}, agent=~"$agent", state="{state}"}})"#,
            at + 1
        )
    };
    let as_number: Vec<_> = NUMBERS.iter().enumerate().map(term).collect();
    let words: Vec<_> = NUMBERS
        .iter()
        .enumerate()
        .map(|(at, state)| {
            let (_, label, colour) = STATE_COLOURS
                .iter()
                .find(|(name, _, _)| name == state)
                .unwrap();
            (at as i64 + 1, *label, *colour)
        })
        .collect();
    vec![
        Panel::timeline("State over time", "The routing state of the chosen agents at each scrape. Windows have it exactly.")
            .query(&as_number.join("\n  + "), "{{agent}}")
            .words(&words)
            .size(24, 8),
        Panel::lines("Time in the current state", "How long each chosen agent has been in their state, by the platform's own timestamp.", "s")
            .query(r#"time() - sum by (agent) (genesyscloud_agent_state_entered_timestamp_seconds{{}, agent=~"$agent"})"#, "{{agent}}")
            .size(12, 9),
        Panel::bars("Shares of the chosen time", "Part of the chosen time that the chosen agents spent in each state, by scrapes.", "percentunit", super::panel::NEUTRAL)
            .query(r#"avg by (state) (avg_over_time(genesyscloud_agent_state{{}, agent=~"$agent"}[$__range]))"#, "{{state}}")
            .scale(Some(0.0), Some(1.0))
            .decimals(0)
            .state_colours()
            .size(6, 9),
        Panel::bars("State changes seen", "Changes of state of each chosen agent that scrapes saw in the chosen time.", "short", super::panel::NEUTRAL)
            .query(r#"sort_desc(sum by (agent) (changes(genesyscloud_agent_state_entered_timestamp_seconds{{}, agent=~"$agent"}[$__range])))"#, "{{agent}}")
            .size(6, 9),
    ]
}
