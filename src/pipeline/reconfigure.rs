//! A new configuration for a pipeline that runs: thresholds, budget, filters. What is known of
//! agents, what was counted and what is under way stays.

use super::Pipeline;
use super::dialect::{ScanReader, Spoken};
use super::names::Names;
use crate::config::PipelineConfig;
use crate::effect::Effect;
use crate::model::time::{Millis, Now};

impl Pipeline {
    /// Lets `config` hold from now on. What it may not change while the exporter runs (its name,
    /// its dialect, windows) must be as it was; the caller has seen to that.
    pub fn on_reconfigured(&mut self, mut config: PipelineConfig, now: Now) -> Vec<Effect> {
        assert!(
            config.org == self.config.org && config.window == self.config.window,
            "what rows are made of does not change while they are made"
        );
        if self.spoken.is_some_and(Spoken::scan_confirms) {
            // As when the dialect was found: the scan is no cache.
            config.cache_age = Millis::ZERO;
        }
        let interval = config.poll_interval;
        self.cycle
            .reconfigure(&config.org, interval, config.retry_backoff, now.mono);
        self.budget
            .reconfigure(config.requests_per_minute, config.max_in_flight);
        self.breaker.reconfigure(
            config.breaker_failures,
            config.breaker_cooldown,
            config.breaker_max_cooldown,
        );
        if !self.spoken.is_some_and(Spoken::scan_is_registry) {
            self.registry.set_refresh(config.registry_refresh);
        }
        let patterns = |list: &[regex::Regex]| -> Vec<String> {
            list.iter().map(|regex| regex.as_str().to_owned()).collect()
        };
        let filters = |config: &PipelineConfig| {
            (
                patterns(&config.queues_include),
                patterns(&config.queues_exclude),
                config.queues_max,
            )
        };
        if filters(&config) != filters(&self.config)
            || config.queues_refresh != self.config.queues_refresh
        {
            self.directory.at_once(now.mono);
        }
        if config.divergence_interval != self.config.divergence_interval {
            let next = now.mono + config.divergence_interval;
            self.divergence_due = self.divergence_due.min(next);
        }
        if config.names != self.config.names {
            self.names = Names::new(config.names);
            // Rows that have not changed are read again once; where scans name nobody, the listing
            // is asked for.
            self.reader = ScanReader::default();
            if !self.spoken.is_some_and(Spoken::scan_is_registry) {
                self.registry.request_soon(now.mono);
            }
        }
        self.reconciler.reconfigure(config.clone());
        self.config = config;
        self.fit_interval(self.snapshot_pages);
        self.on_due(now)
    }
}
