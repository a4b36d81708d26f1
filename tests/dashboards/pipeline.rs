//! *Pipeline health*: whether the figures can be trusted, and why not, for those who run the exporter.

use serde_json::{Value, json};

use super::dashboard::Dashboard;
use super::panel::{NEUTRAL, Panel, Step};

const ZERO_IS_GOOD: &[Step] = &[(None, "green"), (Some(1.0), "orange")];
const ONE_IS_GOOD: &[Step] = &[(None, "red"), (Some(1.0), "green")];
const ANY_IS_BAD: &[Step] = &[(None, "green"), (Some(1.0), "red")];
/// Rejected below 0.90; the alert warns below 0.95.
const COVERAGE: &[Step] = &[(None, "red"), (Some(0.9), "yellow"), (Some(0.95), "green")];
const JOINED: &[Step] = &[(None, "red"), (Some(0.9), "green")];
const DIVERGENCE: &[Step] = &[
    (None, "green"),
    (Some(0.025), "yellow"),
    (Some(0.05), "red"),
];
const BREAKER: &[(i64, &str, &str)] = &[
    (0, "closed", "green"),
    (1, "half open", "yellow"),
    (2, "open", "red"),
];
const BREAKER_QUERY: &str = r#"2 * sum by (instance) (genesyscloud_breaker_state{{}, state="open"}) + sum by (instance) (genesyscloud_breaker_state{{}, state="half_open"})"#;

pub(crate) fn build() -> Value {
    Dashboard::new(
        "genesyscloud-pipeline",
        "Genesys Cloud / Pipeline health",
        "Whether the figures can be trusted: snapshots, coverage, breaker, divergence, request budget, freshness, event queue, windows, unknown time, data loss.",
        "now-6h",
    )
    .row("Now", now())
    .row("Snapshots and breaker", snapshots())
    .row("Truth", truth())
    .row("Requests and budget", requests())
    .row("Freshness", freshness())
    .row("Event queue, store and windows", delivery())
    .row("Push: notifications in, OTLP out", push())
    .row("The exporter", exporter())
    .build()
}

fn now() -> Vec<Panel> {
    vec![
        Panel::stat("Last snapshot", "Whether the snapshot of the last cycle was believed.", "none", ONE_IS_GOOD)
            .query("min(genesyscloud_up{{}})", "Up")
            .words(&[(0, "refused", "red"), (1, "accepted", "green")])
            .runbook("GenesysCloudSnapshotsRejected"),
        Panel::stat("Breaker", "closed: polling. open: pausing after three bad snapshots in a row. half open: probing.", "none", &[(None, "green"), (Some(1.0), "yellow"), (Some(2.0), "red")])
            .query(&format!("max({BREAKER_QUERY})"), "Breaker")
            .words(BREAKER)
            .runbook("GenesysCloudBreakerOpen"),
        Panel::stat("Coverage", "Share of registered agents that the last answer named. Below 90 % it is rejected whole.", "percentunit", COVERAGE)
            .query("min(genesyscloud_snapshot_coverage_ratio{{}})", "Coverage")
            .decimals(1)
            .runbook("GenesysCloudSnapshotCoverageLow"),
        Panel::stat("Age of the figures", "Since the last snapshot that was believed.", "s", &[(None, "green"), (Some(60.0), "yellow"), (Some(150.0), "red")])
            .query("time() - min(genesyscloud_snapshot_accepted_timestamp_seconds{{}})", "Age")
            .decimals(0)
            .runbook("GenesysCloudSnapshotStale"),
        Panel::stat("Confirmed agents", "Share of agents whose routing state was confirmed by itself within stale_after.", "percentunit", JOINED)
            .query("min(genesyscloud_routing_join_coverage_ratio{{}})", "Confirmed")
            .decimals(1)
            .runbook("GenesysCloudJoinCoverageLow"),
        Panel::stat("Divergence", "Share of compared agents whose live state differed from ours in the last validation. Above 5 % the cache is dropped.", "percentunit", DIVERGENCE)
            .query("max(genesyscloud_divergence_ratio{{}})", "Divergence")
            .decimals(1)
            .runbook("GenesysCloudDivergenceHigh"),
        Panel::stat("Unknown time", "Share of agent time, over the last minutes, of which nothing trustworthy is known.", "percentunit", &[(None, "green"), (Some(0.01), "yellow"), (Some(0.05), "red")])
            .query(
                r#"sum(rate(genesyscloud_state_time_seconds_total{{}, state="unknown"}[$__rate_interval]))
  /
sum(rate(genesyscloud_state_time_seconds_total{{}}[$__rate_interval]))"#,
                "Unknown",
            )
            .decimals(1)
            .runbook("GenesysCloudUnknownTimeHigh"),
        Panel::stat("Records lost", "Records lost or damaged in the chosen time. Must be 0.", "short", ANY_IS_BAD)
            .query("sum(increase(genesyscloud_data_loss_total{{}}[$__range]))", "Lost")
            .decimals(0)
            .runbook("GenesysCloudDataLoss"),
    ]
}

fn snapshots() -> Vec<Panel> {
    vec![
        Panel::lines("Snapshots a minute, by result", "What became of the snapshots that were asked for. A pause is the breaker's.", "short")
            .query("60 * sum by (result) (rate(genesyscloud_snapshots_total{{}}[$__rate_interval]))", "{{result}}")
            .stacked()
            .overriding("accepted", &[("color", json!({ "mode": "fixed", "fixedColor": "green" }))])
            .overriding("rejected", &[("color", json!({ "mode": "fixed", "fixedColor": "red" }))])
            .overriding("failed", &[("color", json!({ "mode": "fixed", "fixedColor": "orange" }))])
            .decimals(1)
            .size(8, 9)
            .runbook("GenesysCloudSnapshotsRejected"),
        Panel::lines("Not accepted a minute, by reason", "Why snapshots were rejected or failed.", "short")
            .query(r#"60 * sum by (result, reason) (rate(genesyscloud_snapshots_total{{}, result!="accepted"}[$__rate_interval]))"#, "{{result}}: {{reason}}")
            .decimals(1)
            .size(8, 9)
            .runbook("GenesysCloudSnapshotsRejected"),
        Panel::timeline("Breaker", "When polling was paused. Each open stretch doubles, up to ten minutes.")
            .query(BREAKER_QUERY, "{{instance}}")
            .words(BREAKER)
            .size(8, 9)
            .runbook("GenesysCloudBreakerOpen"),
        Panel::stat("Trips", "Times the breaker opened in the chosen time.", "short", &[(None, "green"), (Some(0.5), "yellow")])
            .query("sum(increase(genesyscloud_breaker_trips_total{{}}[$__range]))", "Trips")
            .decimals(0)
            .size(4, 8),
        Panel::stat("Poll interval", "The interval in force. Longer than configured: the request budget is too small.", "s", NEUTRAL)
            .query("max(genesyscloud_poll_interval_seconds{{}})", "Interval")
            .size(4, 8)
            .runbook("GenesysCloudBudgetStretched"),
        Panel::lines("Coverage of snapshots", "Share of registered agents that each answer named, also of rejected ones.", "percentunit")
            .query("min by (instance) (genesyscloud_snapshot_coverage_ratio{{}})", "{{instance}}")
            .scale(Some(0.0), Some(1.0))
            .limits(&[(None, "red"), (Some(0.9), "transparent")])
            .size(6, 8)
            .runbook("GenesysCloudSnapshotCoverageLow"),
        Panel::lines("Agents expected and named", "Registered agents, agents in the last answer, registered ones that it did not name, and agents shown as unknown for want of confirmation.", "short")
            .query("sum(genesyscloud_registry_agents{{}})", "registered")
            .query("sum(genesyscloud_snapshot_agents{{}})", "named")
            .query("sum(genesyscloud_agents_missing{{}})", "missing")
            .query("sum(genesyscloud_agents_stale{{}})", "stale")
            .names_only()
            .size(6, 8),
        Panel::stat("Queues left out", "Queues without series of their own, because there are more than queues.max.", "short", ZERO_IS_GOOD)
            .query("sum(genesyscloud_queues_left_out{{}})", "Queues")
            .size(4, 8)
            .runbook("GenesysCloudQueuesLeftOut"),
    ]
}

fn truth() -> Vec<Panel> {
    vec![
        Panel::lines("Divergence", "Share of compared agents whose live routing state differed from ours, at each validation.", "percentunit")
            .query("max by (instance) (genesyscloud_divergence_ratio{{}})", "{{instance}}")
            .limits(&[(None, "transparent"), (Some(0.05), "red")])
            .size(8, 9)
            .runbook("GenesysCloudDivergenceHigh"),
        Panel::lines("Validations", "Validations by outcome, differences that a change in between explains (races), and times the cache was dropped, in the chosen time. And how many agents the last one compared.", "short")
            .query("sum by (result) (increase(genesyscloud_divergence_checks_total{{}}[$__range]))", "{{result}}")
            .query("sum(increase(genesyscloud_divergence_races_total{{}}[$__range]))", "races")
            .query("sum(increase(genesyscloud_cache_invalidations_total{{}}[$__range]))", "invalidations")
            .query("sum(genesyscloud_divergence_compared_agents{{}})", "compared agents")
            .decimals(0)
            .size(8, 9),
        Panel::lines("Confirmed agents", "Share of agents whose routing state was confirmed by itself within stale_after.", "percentunit")
            .query("min by (instance) (genesyscloud_routing_join_coverage_ratio{{}})", "{{instance}}")
            .scale(Some(0.0), Some(1.0))
            .limits(&[(None, "red"), (Some(0.9), "transparent")])
            .size(8, 9)
            .runbook("GenesysCloudJoinCoverageLow"),
        Panel::lines("Unknown time, by cause", "Agents, on average, of whose time nothing trustworthy is known. hole: not seen for too long; hidden: left and came back between two answers; never_joined: not asked yet.", "short")
            .query("sum by (cause) (rate(genesyscloud_unknown_time_seconds_total{{}}[$__rate_interval]))", "{{cause}}")
            .stacked()
            .decimals(1)
            .size(8, 9)
            .runbook("GenesysCloudUnknownTimeHigh"),
        Panel::lines("Time owed and held back", "Debt: agent time counted in a state that turned out wrong, repaid by the next. Held: time of volatile agents, counted once they settle. Truth = counters − debt + held.", "s")
            .query("sum(genesyscloud_state_time_debt_seconds{{}})", "debt")
            .query("sum(genesyscloud_volatile_held_time_seconds{{}})", "held back")
            .size(8, 9),
        Panel::lines("Records a second", "Records of the platform's answers: seen, passed on by delta detection (emitted), and refused. A quiet organisation passes on less than a tenth.", "short")
            .query("sum by (result) (rate(genesyscloud_records_total{{}}[$__rate_interval]))", "{{result}}")
            .query("sum(rate(genesyscloud_hidden_transitions_total{{}}[$__rate_interval]))", "hidden transitions")
            .decimals(1)
            .size(8, 9),
    ]
}

fn requests() -> Vec<Panel> {
    vec![
        Panel::lines("Requests a minute, by endpoint", "Requests to the platform. All of them share one budget.", "short")
            .query("60 * sum by (endpoint) (rate(genesyscloud_api_requests_total{{}}[$__rate_interval])) > 0", "{{endpoint}}")
            .stacked()
            .decimals(0)
            .size(12, 10),
        Panel::lines("Answers that were not 2xx, a minute", "By status code, or why there was no answer; and 429s, which have a counter of their own.", "short")
            .query(r#"60 * sum by (code) (rate(genesyscloud_api_requests_total{{}, code!~"2.."}[$__rate_interval]))"#, "{{code}}")
            .query("60 * sum(rate(genesyscloud_api_throttled_total{{}}[$__rate_interval]))", "throttled (429)")
            .decimals(1)
            .size(12, 10)
            .runbook("GenesysCloudRateLimited"),
        Panel::lines("Budget left", "Requests left in the budget of the running minute. At 0 for long: it is too small.", "short")
            .query("min by (instance) (genesyscloud_api_budget_remaining_requests{{}})", "{{instance}}")
            .size(8, 9)
            .runbook("GenesysCloudBudgetStretched"),
        Panel::lines("Poll interval", "The interval in force, after stretching to the budget.", "s")
            .query("max by (instance) (genesyscloud_poll_interval_seconds{{}})", "{{instance}}")
            .size(8, 9)
            .runbook("GenesysCloudBudgetStretched"),
        Panel::lines("Time to answer (95th percentile)", "From sending a request to the last byte of its answer, by endpoint.", "s")
            .query("histogram_quantile(0.95, sum by (endpoint, le) (rate(genesyscloud_api_request_duration_seconds_bucket{{}}[$__rate_interval])))", "{{endpoint}}")
            .size(8, 9),
    ]
}

fn freshness() -> Vec<Panel> {
    vec![
        Panel::lines("Age of the figures", "Since the last accepted snapshot, and since the confirmation of the agent who was confirmed longest ago.", "s")
            .query("time() - min(genesyscloud_snapshot_accepted_timestamp_seconds{{}})", "last snapshot")
            .query("time() - min(genesyscloud_routing_confirmation_oldest_timestamp_seconds{{}})", "oldest confirmation")
            .size(8, 9)
            .runbook("GenesysCloudSnapshotStale"),
        Panel::lines("From the change to us (median and 95th percentile)", "From the platform's time of a state change to the arrival of the answer that told it.", "s")
            .query("histogram_quantile(0.5, sum by (source, le) (rate(genesyscloud_ingestion_delay_seconds_bucket{{}}[$__rate_interval])))", "{{source}} median")
            .query("histogram_quantile(0.95, sum by (source, le) (rate(genesyscloud_ingestion_delay_seconds_bucket{{}}[$__rate_interval])))", "{{source}} 95th")
            .size(8, 9),
        Panel::lines("A poll cycle, by phase (95th percentile)", "What a cycle spends its time on.", "s")
            .query("histogram_quantile(0.95, sum by (phase, le) (rate(genesyscloud_cycle_duration_seconds_bucket{{}}[$__rate_interval])))", "{{phase}}")
            .size(8, 9),
        Panel::lines("Clock skew", "Our clock minus the platform's. Time in state is not concerned; ages on dashboards are.", "s")
            .query("max by (instance) (genesyscloud_clock_skew_seconds{{}})", "{{instance}}")
            .scale(None, None)
            .size(24, 6)
            .runbook("GenesysCloudClockSkew"),
    ]
}

fn delivery() -> Vec<Panel> {
    vec![
        Panel::lines("Records waiting", "Records in the event queue that are not stored yet.", "short")
            .query("sum(genesyscloud_event_queue_depth_events{{}})", "waiting")
            .size(8, 9)
            .runbook("GenesysCloudQueueBacklog"),
        Panel::lines("Longest wait", "How long the oldest record in the event queue has waited; 0 while the queue is empty.", "s")
            .query("max(time() - genesyscloud_event_queue_oldest_timestamp_seconds{{}} or 0 * genesyscloud_event_queue_depth_events{{}})", "waits")
            .size(8, 9)
            .runbook("GenesysCloudQueueBacklog"),
        Panel::lines("Events a minute", "State changes by what became of them. Corrected: later evidence was better. Dead: could not be stored in any way.", "short")
            .query("60 * sum by (result) (rate(genesyscloud_events_total{{}}[$__rate_interval]))", "{{result}}")
            .decimals(1)
            .size(8, 9),
        Panel::lines("Windows written a minute", "Rows of time in state. Revised: later evidence changed a closed one.", "short")
            .query("60 * sum by (result) (rate(genesyscloud_windows_total{{}}[$__rate_interval]))", "{{result}}")
            .decimals(1)
            .size(8, 9),
        Panel::lines("Lag of windows", "Since the end of the last window that is closed for every agent. Up to window.length and window.max_wait by design.", "s")
            .query("time() - min(genesyscloud_window_closed_timestamp_seconds{{}})", "lag")
            .size(8, 9)
            .runbook("GenesysCloudWindowLag"),
        Panel::lines("A batch (median and 99th percentile)", "From taking a batch off the event queue to its synced commit.", "s")
            .query("histogram_quantile(0.5, sum by (le) (rate(genesyscloud_batch_duration_seconds_bucket{{}}[$__rate_interval])))", "median")
            .query("histogram_quantile(0.99, sum by (le) (rate(genesyscloud_batch_duration_seconds_bucket{{}}[$__rate_interval])))", "99th")
            .size(8, 9),
        Panel::lines("Store errors", "Failures of the store in the last minutes, by what it was doing.", "short")
            .query("sum by (operation) (increase(genesyscloud_store_errors_total{{}}[$__rate_interval]))", "{{operation}}")
            .decimals(0)
            .size(8, 9)
            .runbook("GenesysCloudStoreErrors"),
        Panel::lines("Data loss", "Records lost or damaged since the exporter started, by how it was noticed. Must stay 0.", "short")
            .query("sum by (kind) (increase(genesyscloud_data_loss_total{{}}[$__rate_interval]))", "{{kind}}")
            .decimals(0)
            .size(8, 9)
            .runbook("GenesysCloudDataLoss"),
        Panel::lines("Size of the store", "Bytes of the store's files. store.retention bounds it.", "bytes")
            .query("sum(genesyscloud_store_size_bytes{{}})", "store")
            .size(8, 9),
    ]
}

fn push() -> Vec<Panel> {
    vec![
        Panel::lines("Notification channels", "Channels on which the platform pushes changes, by state, and the agents whose every change is pushed. Told by the platform dialect only.", "short")
            .query("sum by (state) (genesyscloud_notification_channels{{}})", "{{state}}")
            .query("sum(genesyscloud_notification_agents{{}})", "agents")
            .logarithmic()
            .size(8, 8)
            .runbook("GenesysCloudNotificationsDown"),
        Panel::lines("Notifications and reconnects a minute", "Events that were pushed, and times a channel was opened again. Told by the platform dialect only.", "short")
            .query("60 * sum(rate(genesyscloud_notification_events_total{{}}[$__rate_interval]))", "events")
            .query("60 * sum(rate(genesyscloud_notification_reconnects_total{{}}[$__rate_interval]))", "reconnects")
            .query("60 * sum(rate(genesyscloud_notification_rejections_total{{}}[$__rate_interval]))", "topics refused")
            .query("60 * sum(rate(genesyscloud_notification_disagreements_total{{}}[$__rate_interval]))", "disagreements with polls")
            .decimals(1)
            .size(8, 8)
            .runbook("GenesysCloudNotificationsDown"),
        Panel::lines("OTLP exports a minute", "Pushes of these metrics by OTLP, by result. None unless otlp.endpoint is set.", "short")
            .query("60 * sum by (result) (rate(genesyscloud_otlp_exports_total{{}}[$__rate_interval]))", "{{result}}")
            .decimals(1)
            .size(8, 8)
            .runbook("GenesysCloudOtlpFailing"),
    ]
}

fn exporter() -> Vec<Panel> {
    vec![
        Panel::lines("CPU", "Processor time that the exporter uses, as a share of one core.", "percentunit")
            .query("sum by (instance) (rate(process_cpu_seconds_total{{}}[$__rate_interval]))", "{{instance}}")
            .size(8, 8),
        Panel::lines("Memory", "Resident and virtual memory of the exporter; most of the virtual one is never used.", "bytes")
            .query("sum(process_resident_memory_bytes{{}})", "resident")
            .query("sum(process_virtual_memory_bytes{{}})", "virtual")
            .size(8, 8),
        Panel::lines("Open files and threads", "File descriptors, out of those allowed, and threads.", "short")
            .query("sum(process_open_fds{{}})", "open files")
            .query("sum(process_max_fds{{}})", "allowed")
            .query("sum(process_threads{{}})", "threads")
            .logarithmic()
            .overriding("allowed", &[("custom.lineStyle", json!({ "fill": "dash", "dash": [6, 6] }))])
            .size(8, 8),
        Panel::stat("Running for", "Since the process started.", "s", NEUTRAL).query("time() - min(process_start_time_seconds{{}})", "Uptime").decimals(0).size(4, 5),
        Panel::stat("Configuration", "Whether the configuration that was last read is in force.", "none", ONE_IS_GOOD)
            .query("min(genesyscloud_config_last_reload_successful{{}})", "Configuration")
            .words(&[(0, "refused", "red"), (1, "in force", "green")])
            .size(4, 5)
            .runbook("GenesysCloudConfigReloadFailed"),
        Panel::stat("Configured for", "Since a configuration was last accepted.", "s", NEUTRAL)
            .query("time() - min(genesyscloud_config_last_reload_success_timestamp_seconds{{}})", "Age")
            .decimals(0)
            .size(4, 5),
        Panel::stat("Certificate", "Until the certificate that the exporter serves with ends, of a chain the one that ends first; nothing without TLS.", "s", NEUTRAL)
            .query("min(genesyscloud_web_certificate_expiry_timestamp_seconds{{}}) - time()", "Ends in")
            .decimals(0)
            .size(4, 5)
            .runbook("GenesysCloudWebCertificateExpiring"),
        Panel::table("Builds", "Which build runs where.", "Instance")
            .instant("sum by (instance, version, revision, rustversion) (genesyscloud_exporter_build_info{{}})")
            .columns(&[("instance", "Instance"), ("version", "Version"), ("revision", "Revision"), ("rustversion", "Rust")], &["Time", "Value"])
            .size(8, 5),
    ]
}
