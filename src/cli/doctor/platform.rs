//! The calls that only dialect `platform` makes. The exporter does without them, at a price, so
//! a refusal is a warning and not a failure.

use super::report::Verdict;
use super::{Doctor, Found};
use crate::model::time::Millis;
use crate::upstream::request::{ApiRequest, DetailsQuery};
use crate::upstream::wire_platform;

/// What is asked of an agent's history: enough for an answer, too little to be a burden.
const HISTORY: Millis = Millis::from_secs(60);

impl Doctor {
    /// Whether holes can be filled.
    pub(super) async fn history(&mut self, found: &Found) {
        const CHECK: &str = "history";
        let Some(user) = found.agent.clone() else {
            self.report.add(CHECK, Verdict::Skipped, "", "");
            return;
        };
        let to = self.clock.now().wall;
        let request = ApiRequest::UserDetails(DetailsQuery {
            from: to - HISTORY,
            to,
            users: [user].into(),
            page: 1,
        });
        if let Some(success) = self.ask_for(CHECK, Verdict::Warn, &request).await {
            match wire_platform::user_details(&success.response.body) {
                Ok(_) => self
                    .report
                    .add(CHECK, Verdict::Ok, "holes can be filled", ""),
                Err(error) => self.unreadable(CHECK, &error),
            }
        }
    }

    /// Whether the starts of after-call work can be asked for.
    pub(super) async fn after_call(&mut self, found: &Found) {
        const CHECK: &str = "after-call work";
        let Some(user) = found.agent.clone() else {
            self.report.add(CHECK, Verdict::Skipped, "", "");
            return;
        };
        let request = ApiRequest::AgentStatus { user: user.clone() };
        if let Some(success) = self.ask_for(CHECK, Verdict::Warn, &request).await {
            match wire_platform::after_call_since(&success.response.body, &user) {
                Ok(_) => self
                    .report
                    .add(CHECK, Verdict::Ok, "its starts can be read", ""),
                Err(error) => self.unreadable(CHECK, &error),
            }
        }
    }

    /// Whether changes can be pushed. The channel that this makes is the first to be given up,
    /// for nobody connects to it.
    pub(super) async fn notifications(&mut self) {
        const CHECK: &str = "notifications";
        if !self.config.pipeline.notifications {
            self.report.add(CHECK, Verdict::Skipped, "off", "");
            return;
        }
        let request = ApiRequest::OpenChannel;
        if let Some(success) = self.ask_for(CHECK, Verdict::Warn, &request).await {
            match wire_platform::channel(&success.response.body) {
                Ok(_) => self
                    .report
                    .add(CHECK, Verdict::Ok, "a channel can be had", ""),
                Err(error) => self.unreadable(CHECK, &error),
            }
        }
    }
}
