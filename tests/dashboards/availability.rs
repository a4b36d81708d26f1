//! *Availability*: who can take a call, for those who steer the day.

use serde_json::{Value, json};

use super::dashboard::Dashboard;
use super::panel::{NEUTRAL, Panel, STATE_COLOURS, Step, thresholds};

const OCCUPANCY: &[Step] = &[(None, "green"), (Some(0.85), "yellow"), (Some(0.9), "red")];
const NONE_IS_BAD: &[Step] = &[(None, "red"), (Some(1.0), "green")];
const ANY_IS_ODD: &[Step] = &[(None, "green"), (Some(1.0), "yellow")];
const SHARE_OF_PHANTOMS: &[Step] = &[(None, "green"), (Some(0.2), "yellow"), (Some(0.33), "red")];
const IDLE: &[Step] = &[
    (None, "green"),
    (Some(300.0), "yellow"),
    (Some(900.0), "orange"),
];
const CALL: &[Step] = &[
    (None, "blue"),
    (Some(600.0), "yellow"),
    (Some(1_200.0), "red"),
];
const WRAP_UP: &[Step] = &[
    (None, "purple"),
    (Some(120.0), "yellow"),
    (Some(300.0), "red"),
];

const COUNTED_TWICE: &str = "An agent counts in each of their queues.";

pub(crate) fn build() -> Value {
    Dashboard::new(
        "genesyscloud-availability",
        "Genesys Cloud / Availability",
        "Who can take the next call: agents and queues by routing state, phantom availability, longest idle, occupancy, time in state.",
        "now-3h",
    )
    .variable("queue", "Queue", "label_values(genesyscloud_queue_agents{{}}, queue)", true)
    .row("Now, the whole organisation (every agent once)", now())
    .row("Queues now", vec![queues()])
    .row("Agents by state", by_state())
    .row("Capacity by queue", capacity())
    .row("Longest in their state", longest())
    .row("Looks available, is not", phantoms())
    .row("Time in state", time_in_state())
    .build()
}

fn now() -> Vec<Panel> {
    let state = |label: &str, state: &str, steps, description| {
        Panel::stat(label, description, "short", steps).query(
            &format!(r#"sum(genesyscloud_agents{{{{}}, state="{state}"}})"#),
            label,
        )
    };
    vec![
        state("Available", "available", NONE_IS_BAD, "Agents to whom routing sends the next call.").runbook("GenesysCloudNoAgentAvailable"),
        state("On call", "on_call", NEUTRAL, "Agents in an interaction."),
        state("Wrap-up", "wrap_up", &[(None, "purple")], "Agents in after-call work."),
        state("Not ready", "not_ready", &[(None, "orange")], "Agents who get no calls: breaks, meetings, off queue and off shift."),
        Panel::stat("Occupancy", "Time on calls and in wrap-up, out of that and available time. 80 to 85 % is what planners aim at.", "percentunit", OCCUPANCY)
            .query(
                r#"sum(rate(genesyscloud_state_time_seconds_total{{}, state=~"on_call|wrap_up"}[$__rate_interval]))
  /
sum(rate(genesyscloud_state_time_seconds_total{{}, state=~"on_call|wrap_up|available"}[$__rate_interval]))"#,
                "Occupancy",
            )
            .decimals(1),
        Panel::stat("Stuck on call", "Agents on call by routing who have no open interaction. They get no calls until they are set free.", "short", ANY_IS_ODD)
            .query("sum(genesyscloud_stuck_agents{{}})", "Stuck")
            .runbook("GenesysCloudAgentStuckOnCall"),
        Panel::stat("Volatile", "Agents who change state more than three times a minute: left out of the figures until they settle.", "short", ANY_IS_ODD)
            .query("sum(genesyscloud_volatile_agents{{}})", "Volatile")
            .runbook("GenesysCloudVolatileSurge"),
        Panel::stat("Age of the figures", "Since the last snapshot that was believed. Everything on this page is as old.", "s", &[(None, "green"), (Some(60.0), "yellow"), (Some(150.0), "red")])
            .query("time() - min(genesyscloud_snapshot_accepted_timestamp_seconds{{}})", "Age")
            .decimals(0)
            .runbook("GenesysCloudSnapshotStale"),
    ]
}

/// One line a queue: what a supervisor looks at first.
fn queues() -> Panel {
    let mut panel = Panel::table(
        "Queues",
        "Members of each queue by routing state, longest idle and longest call, and the occupancy of the last minutes. An agent counts in each of their queues.",
        "Occupancy",
    )
    .size(24, 14);
    for (state, _, _) in STATE_COLOURS {
        panel = panel.instant(&format!(r#"sum by (queue) (genesyscloud_queue_agents{{{{}}, queue=~"$queue", state="{state}"}})"#));
    }
    let oldest = |state| {
        format!(
            r#"time() - min by (queue) (genesyscloud_queue_oldest_state_entered_timestamp_seconds{{{{}}, queue=~"$queue", state="{state}"}})"#
        )
    };
    panel = panel
        .instant(r#"sum by (queue) (genesyscloud_queue_phantom_available_agents{{}, queue=~"$queue"})"#)
        .instant(&oldest("available"))
        .instant(&oldest("on_call"))
        .instant(
            r#"sum by (queue) (rate(genesyscloud_queue_state_time_seconds_total{{}, queue=~"$queue", state=~"on_call|wrap_up"}[$__rate_interval]))
  /
(sum by (queue) (rate(genesyscloud_queue_state_time_seconds_total{{}, queue=~"$queue", state=~"on_call|wrap_up|available"}[$__rate_interval])) > 0)"#,
        )
        .columns(
            &[
                ("queue", "Queue"),
                ("Value #A", "Available"),
                ("Value #B", "On call"),
                ("Value #C", "Wrap-up"),
                ("Value #D", "Not ready"),
                ("Value #E", "Unknown"),
                ("Value #F", "Phantom"),
                ("Value #G", "Longest idle"),
                ("Value #H", "Longest call"),
                ("Value #I", "Occupancy"),
            ],
            &["Time"],
        );
    coloured(panel).runbook("GenesysCloudNoAgentAvailable")
}

/// Figures of the table in the colour of their state, or by how bad they are.
fn coloured(mut panel: Panel) -> Panel {
    let text = || json!({ "type": "color-text" });
    for (_, label, colour) in STATE_COLOURS {
        let fixed = json!({ "mode": "fixed", "fixedColor": colour });
        panel = panel.overriding(label, &[("custom.cellOptions", text()), ("color", fixed)]);
    }
    let judged = |cell: Value, steps| {
        vec![
            ("custom.cellOptions", cell),
            ("thresholds", thresholds(steps)),
        ]
    };
    let lasting = |steps| [vec![("unit", json!("dthms"))], judged(text(), steps)].concat();
    let mut available = judged(
        json!({ "type": "color-background", "mode": "basic" }),
        NONE_IS_BAD,
    );
    available.push(("color", json!({ "mode": "thresholds" })));
    let gauge = json!({ "type": "gauge", "mode": "basic", "valueDisplayMode": "text" });
    let share = vec![
        ("unit", json!("percentunit")),
        ("decimals", json!(0)),
        ("min", json!(0)),
        ("max", json!(1)),
    ];
    panel
        .overriding("Available", &available)
        .overriding(
            "Phantom",
            &judged(text(), &[(None, "text"), (Some(1.0), "red")]),
        )
        .overriding("Longest idle", &lasting(IDLE))
        .overriding("Longest call", &lasting(CALL))
        .overriding("Occupancy", &[share, judged(gauge, OCCUPANCY)].concat())
}

fn by_state() -> Vec<Panel> {
    vec![
        Panel::lines("Organisation", "Agents by routing state; every agent counts once. Not-ready ones are left out here: most of them are off shift.", "short")
            .query(r#"sum by (state) (genesyscloud_agents{{}, state!="not_ready"})"#, "{{state}}")
            .stacked()
            .state_colours(),
        Panel::lines("Chosen queues", &format!("Members of the chosen queues by routing state, without not-ready ones. {COUNTED_TWICE}"), "short")
            .query(r#"sum by (state) (genesyscloud_queue_agents{{}, queue=~"$queue", state!="not_ready"})"#, "{{state}}")
            .stacked()
            .state_colours(),
    ]
}

fn capacity() -> Vec<Panel> {
    vec![
        Panel::lines("Available members", &format!("Members of each queue who can take the next call. {COUNTED_TWICE}"), "short")
            .query(r#"sum by (queue) (genesyscloud_queue_agents{{}, queue=~"$queue", state="available"})"#, "{{queue}}")
            .size(8, 9)
            .runbook("GenesysCloudNoAgentAvailable"),
        Panel::lines("Availability", "Of the members on shift (available, on call, in wrap-up, or phantom), the part who can take the next call.", "percentunit")
            .query(
                r#"sum by (queue) (genesyscloud_queue_agents{{}, queue=~"$queue", state="available"})
  /
(
  sum by (queue) (genesyscloud_queue_agents{{}, queue=~"$queue", state=~"available|on_call|wrap_up"})
    +
  sum by (queue) (genesyscloud_queue_phantom_available_agents{{}, queue=~"$queue"})
> 0)"#,
                "{{queue}}",
            )
            .size(8, 9)
            .scale(Some(0.0), Some(1.0)),
        Panel::lines("Occupancy", "Time on calls and in wrap-up, out of that and available time. The alert fires above 90 % for half an hour.", "percentunit")
            .query(
                r#"sum by (queue) (rate(genesyscloud_queue_state_time_seconds_total{{}, queue=~"$queue", state=~"on_call|wrap_up"}[$__rate_interval]))
  /
(sum by (queue) (rate(genesyscloud_queue_state_time_seconds_total{{}, queue=~"$queue", state=~"on_call|wrap_up|available"}[$__rate_interval])) > 0)"#,
                "{{queue}}",
            )
            .size(8, 9)
            .scale(Some(0.0), Some(1.0))
            .limits(&[(None, "transparent"), (Some(0.9), "red")])
            .runbook("GenesysCloudOccupancyHigh"),
    ]
}

fn longest() -> Vec<Panel> {
    let bars = |title: &str, state: &str, steps, description: &str| {
        let expr = format!(
            r#"sort_desc(time() - min by (queue) (genesyscloud_queue_oldest_state_entered_timestamp_seconds{{{{}}, queue=~"$queue", state="{state}"}}))"#
        );
        Panel::bars(title, description, "dthms", steps)
            .query(&expr, "{{queue}}")
            .size(8, 10)
    };
    vec![
        bars(
            "Longest idle",
            "available",
            IDLE,
            "How long the member who has waited longest for a call has waited.",
        ),
        bars(
            "Longest call",
            "on_call",
            CALL,
            "How long the longest running interaction of each queue has lasted.",
        )
        .runbook("GenesysCloudAgentStuckOnCall"),
        bars(
            "Longest wrap-up",
            "wrap_up",
            WRAP_UP,
            "How long the member longest in after-call work has been in it.",
        ),
    ]
}

fn phantoms() -> Vec<Panel> {
    vec![
        Panel::lines("Phantom available", &format!("Members whose screen promises availability while routing says not ready: they wait, and so do callers. {COUNTED_TWICE}"), "short")
            .query(r#"sum by (queue) (genesyscloud_queue_phantom_available_agents{{}, queue=~"$queue"})"#, "{{queue}}")
            .size(8, 9)
            .runbook("GenesysCloudPhantomAvailabilityHigh"),
        Panel::bars("Phantom share", "Of the members who look free on the screen, the part to whom routing sends nothing.", "percentunit", SHARE_OF_PHANTOMS)
            .query(
                r#"sort_desc(
  sum by (queue) (genesyscloud_queue_phantom_available_agents{{}, queue=~"$queue"})
    /
  (
    sum by (queue) (genesyscloud_queue_phantom_available_agents{{}, queue=~"$queue"})
      +
    sum by (queue) (genesyscloud_queue_agents{{}, queue=~"$queue", state="available"})
  > 0)
)"#,
                "{{queue}}",
            )
            .size(8, 9)
            .decimals(0)
            .scale(Some(0.0), Some(1.0))
            .runbook("GenesysCloudPhantomAvailabilityHigh"),
        Panel::lines("Not responding, and the platform's other statuses", "Agents by the platform's own routing status, without those off queue. not_responding: a call was offered and not taken, so routing sends no more. Told by the platform dialect only.", "short")
            .query(r#"sum by (status) (genesyscloud_platform_status_agents{{}, status!="off_queue"})"#, "{{status}}")
            .overriding("not_responding", &[("color", json!({ "mode": "fixed", "fixedColor": "red" }))])
            .size(8, 9),
        Panel::lines("Volatile members", &format!("Members held back because they change state too fast. {COUNTED_TWICE}"), "short")
            .query(r#"sum by (queue) (genesyscloud_queue_volatile_agents{{}, queue=~"$queue"})"#, "{{queue}}")
            .runbook("GenesysCloudVolatileSurge"),
        Panel::bars("What the screens say", "Agents by UI presence, every agent once. This is about desktops, never about capacity. Offline ones are left out.", "short", NEUTRAL)
            .query(r#"sort_desc(sum by (presence) (genesyscloud_presence_agents{{}, presence!="offline"}) > 0)"#, "{{presence}}"),
    ]
}

fn time_in_state() -> Vec<Panel> {
    vec![
        Panel::lines("Average members in state", &format!("Agent-seconds in a second: the average number of members in the state, exact to the platform's timestamps. {COUNTED_TWICE}"), "short")
            .query(r#"sum by (state) (rate(genesyscloud_queue_state_time_seconds_total{{}, queue=~"$queue", state!="not_ready"}[$__rate_interval]))"#, "{{state}}")
            .stacked()
            .state_colours()
            .decimals(1)
            .size(8, 9),
        Panel::lines("Length of stays (median)", "Half of the stays in the state that ended were shorter. Handling time is on call and wrap-up.", "s")
            .query("histogram_quantile(0.5, sum by (state, le) (rate(genesyscloud_state_duration_seconds_bucket{{}}[$__rate_interval])))", "{{state}}")
            .state_colours()
            .size(8, 9),
        Panel::lines("State changes a minute", &format!("Changes of the chosen queues' members, between the states that matter. {COUNTED_TWICE}"), "short")
            .query(r#"60 * sum by (from, to) (rate(genesyscloud_queue_state_transitions_total{{}, queue=~"$queue"}[$__rate_interval])) > 0"#, "{{from}} → {{to}}")
            .decimals(1)
            .size(8, 9),
    ]
}
