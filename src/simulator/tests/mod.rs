//! The platform as a client sees it, without sockets; `http` alone uses some.

mod answers;
mod control;
mod faulty;
mod http;
mod sockets;
mod limits;
mod mishaps;
mod notifications;
mod plans;
mod platform_api;
mod history;

use bytes::Bytes;
use serde_json::Value;

use super::behaviour::TEST_ORIGIN;
use super::exchange::{SimRequest, SimResponse};
use super::faults::FaultPlan;
use super::org::OrgSpec;
use super::platform::{SimulatedPlatform, SimulatorOptions};
use crate::model::time::{Millis, UnixMillis};

/// A client of a simulated platform, with a clock of its own.
struct Client {
    platform: SimulatedPlatform,
    token: String,
    now: UnixMillis,
}

fn options(agents: u32) -> SimulatorOptions {
    SimulatorOptions::new(OrgSpec::new(agents, 6, 42), TEST_ORIGIN)
}

impl Client {
    fn of(options: SimulatorOptions) -> Self {
        let mut client = Self {
            now: options.origin,
            platform: SimulatedPlatform::new(options).unwrap(),
            token: String::new(),
        };
        client.log_in();
        client
    }

    fn new(agents: u32) -> Self {
        Self::of(options(agents))
    }

    /// A client with faults from the start, logged in.
    fn with_faults(agents: u32, faults: &str) -> Self {
        let mut client = Self::new(agents);
        client.set_faults(faults);
        client
    }

    fn set_faults(&mut self, faults: &str) {
        self.platform
            .set_faults(FaultPlan::parse(faults).unwrap(), self.now);
    }

    fn log_in(&mut self) {
        let answer = self.login("demo", "demo");
        assert_eq!(answer.status, 200, "{}", answer.value());
        answer.value()["access_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.token);
    }

    fn login(&mut self, id: &str, secret: &str) -> SimResponse {
        self.platform
            .handle(&SimRequest::login(id, secret), self.now)
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        authorization: Option<&str>,
    ) -> SimResponse {
        let request = SimRequest {
            method: method.to_owned(),
            path_and_query: path.to_owned(),
            authorization: authorization.map(str::to_owned),
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..SimRequest::default()
        };
        self.platform.handle(&request, self.now)
    }

    fn get(&mut self, path: &str) -> SimResponse {
        let request = SimRequest::get(path, &self.token);
        self.platform.handle(&request, self.now)
    }

    fn json(&mut self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.value());
        answer.value()
    }

    fn snapshot(&mut self) -> Vec<Value> {
        self.json("/api/v2/users/statuses")
            .as_array()
            .unwrap()
            .clone()
    }

    fn routing(&mut self, id: &str) -> Vec<Value> {
        self.json(&format!("/api/v2/routing/users/{id}/state"))["routingStates"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn ids(&self) -> Vec<String> {
        let entries = self.platform.roster().entries();
        entries
            .iter()
            .map(|entry| entry.agent.id.to_string())
            .collect()
    }

    fn pass(&mut self, seconds: i64) {
        self.now = self.now + Millis::from_secs(seconds);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn instant(value: &Value) -> UnixMillis {
    UnixMillis::parse(text(value)).unwrap()
}
