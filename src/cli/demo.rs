//! `demo`: an organisation of its own and the exporter against it, over real HTTP on loopback, in
//! one process; no file, no service, nothing to configure.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::service::{self, Scratch, ServiceError};
use super::{DemoArgs, Exit, complain, logging, print};
use crate::app::{App, Handles};
use crate::clock::SystemClock;
use crate::config::{self, Environment};
use crate::model::state::RoutingState;
use crate::model::time::Millis;
use crate::model::view::View;
use crate::simulator::faults::FaultPlan;
use crate::simulator::org::OrgSpec;
use crate::simulator::platform::{SimulatedPlatform, SimulatorOptions};
use crate::simulator::serve::serve;

/// How much faster than life the organisation lives: states last half a minute rather than minutes.
const TEMPO: f64 = 4.0;
/// No state is shorter, so that the demo's agents are not all volatile.
const STATE_MIN: Millis = Millis::from_secs(16);
/// The snapshot's cache; the demo polls as often.
const CACHE: Millis = Millis::from_secs(5);
/// The demo's platform grants more than the usual 300 a minute, because its agents change state
/// that much more often.
const REQUESTS_PER_MINUTE: u32 = 6_000;
/// The summary is drawn this often.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);
/// Opens nothing but this process's own simulation.
const SECRET: &str = "demo";

/// Runs the demo until a signal.
pub fn run(args: &DemoArgs) -> Exit {
    let faults = match FaultPlan::parse(&args.org.faults) {
        Ok(faults) => faults,
        Err(error) => {
            complain(&format_args!("--faults: {error}"));
            return Exit::Usage;
        }
    };
    let clock = SystemClock::new();
    if let Err(error) = logging::init(args.log, clock) {
        complain(&error);
        return Exit::Failed;
    }
    let data = Scratch::new("demo");
    service::run(demo(args.clone(), faults, clock, data.0.clone()))
}

async fn demo(
    args: DemoArgs,
    faults: FaultPlan,
    clock: SystemClock,
    data: PathBuf,
) -> Result<Exit, ServiceError> {
    let stop = service::stop_signal()?;
    let listeners = service::listen(&args.listen, "--web.listen-address").await?;
    let platform_at = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut sockets = service::listen(&[platform_at], "--web.listen-address").await?;
    let socket = sockets.remove(0);
    let platform_at = service::address(&socket)?;
    let platform = Arc::new(Mutex::new(platform(&args, faults, clock)?));
    let mut stopped = stop.clone();
    let simulated = tokio::spawn(serve(socket, platform, clock, async move {
        // The sender ends with the process.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }));
    let app = App::build(configuration(platform_at, &data), clock)
        .await
        .map_err(ServiceError::App)?;
    let mut addresses = Vec::new();
    for listener in &listeners {
        let address = service::address(listener)?;
        tracing::info!(%address, "listening");
        addresses.push(address);
    }
    print(&welcome(&args, &addresses, platform_at));
    let summary = tokio::spawn(summarise(app.handles(), stop.clone()));
    let ended = app.run(listeners, stop).await.map_err(ServiceError::App);
    summary.abort();
    simulated.abort();
    ended.map(|()| Exit::Fine)
}

fn platform(
    args: &DemoArgs,
    faults: FaultPlan,
    clock: SystemClock,
) -> Result<SimulatedPlatform, ServiceError> {
    let org = OrgSpec {
        tempo: TEMPO,
        min_state: STATE_MIN,
        ..OrgSpec::new(args.org.agents, args.org.queues, args.org.seed)
    };
    let options = SimulatorOptions {
        client_secret: SECRET.to_owned(),
        requests_per_minute: REQUESTS_PER_MINUTE,
        cache_refresh: CACHE,
        faults,
        ..SimulatorOptions::new(org, clock.now().wall)
    };
    SimulatedPlatform::new(options).map_err(ServiceError::Organisation)
}

/// The demo's configuration, through the same parser as a user's.
fn configuration(platform: SocketAddr, data: &Path) -> config::Config {
    let text = format!(
        "source:\n  name: demo\n  dialect: status\n  api_url: http://{platform}\n  \
         login_url: http://{platform}\n  client_id: demo\n\
         poll: {{ interval: 5s, timeout: 4s }}\n\
         snapshot: {{ cache_age: 5s, retry_backoff: 3s }}\n\
         breaker: {{ cooldown: 10s, max_cooldown: 1m }}\n\
         budget: {{ requests_per_minute: {REQUESTS_PER_MINUTE}, max_in_flight: 16 }}\n\
         divergence: {{ interval: 2m }}\n\
         stuck: {{ after: 5m, recheck: 1m }}\n\
         registry: {{ refresh: 1m }}\n\
         queues: {{ refresh: 1m }}\n\
         window: {{ length: 1m, slide: 1m, max_wait: 3m }}\n\
         store: {{ path: {} }}\n\
         metrics: {{ per_agent: id }}\n",
        serde_json::Value::from(data.to_string_lossy())
    );
    let environment =
        Environment::from([("GENESYSCLOUD_CLIENT_SECRET".to_owned(), SECRET.to_owned())]);
    let name = Arc::from("the demo's configuration");
    match config::parse(&name, &text, &environment, &[]) {
        Ok(loaded) => loaded.config,
        Err(error) => unreachable!("a test parses this configuration: {error}"),
    }
}

fn welcome(args: &DemoArgs, addresses: &[SocketAddr], platform: SocketAddr) -> String {
    let mut text = format!(
        "A simulated contact centre: {} agents, {} queues, seed {}; it lives {TEMPO} times as fast as life.\n",
        args.org.agents, args.org.queues, args.org.seed
    );
    for address in addresses {
        write!(
            text,
            "\n  board           http://{address}/\
             \n  metrics         http://{address}/metrics\
             \n  agents          http://{address}/api/v1/agents\
             \n  queues          http://{address}/api/v1/queues\
             \n  windows         http://{address}/api/v1/windows   (one-minute windows, the first after about two minutes)\
             \n  health          http://{address}/api/v1/status\n"
        )
        .expect("writing to a string cannot fail");
    }
    write!(
        text,
        "  the platform    http://{platform}/simulator/statistics\n\nCtrl-C ends it.\n"
    )
    .expect("writing to a string cannot fail");
    text
}

/// Draws a short summary in place, if somebody looks.
async fn summarise(handles: Handles, mut stop: watch::Receiver<bool>) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    let mut drawn = 0;
    let mut tick = tokio::time::interval(SUMMARY_EVERY);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            _ = tick.tick() => {}
        }
        let text = summary(&handles.pages.view());
        let mut out = std::io::stdout();
        // A terminal that has gone away is no reason to end.
        let _ = write!(out, "{}{text}", "\x1b[A\x1b[2K".repeat(drawn));
        let _ = out.flush();
        drawn = text.lines().count();
    }
}

fn summary(view: &View) -> String {
    let health = &view.health;
    if health.accepted_at.is_none() {
        return "waiting for the first snapshot …\n".to_owned();
    }
    let mut text = String::from("agents   ");
    for state in RoutingState::ALL {
        let count = view.organisation.agents[state.index()];
        write!(text, "{} {count}   ", state.label()).expect("writing to a string cannot fail");
    }
    let percent = |ratio: Option<f64>| ratio.map_or(0.0, |ratio| ratio * 100.0);
    let closed = health
        .window_closed_until
        .map_or_else(|| "none yet".to_owned(), |at| at.to_string());
    write!(
        text,
        "volatile {}\nsnapshot {:.1} % coverage, breaker {}, joined {:.1} %\n\
         budget   {} requests left this minute\nwindows  closed until {closed}\n",
        view.organisation.volatile,
        percent(health.coverage),
        health.breaker.label(),
        percent(health.join_coverage),
        health.budget_remaining,
    )
    .expect("writing to a string cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_configuration_is_one_that_a_user_could_write() {
        let config = configuration(
            SocketAddr::from(([127, 0, 0, 1], 1)),
            Path::new("/tmp/with \"quotes\" and: colons"),
        );
        assert_eq!(config.pipeline.window.length, Millis::from_secs(60));
        assert_eq!(
            config.store.path,
            Path::new("/tmp/with \"quotes\" and: colons")
        );
    }

    #[test]
    fn the_summary_waits_for_a_snapshot_and_then_counts() {
        let mut view = View::default();
        assert!(summary(&view).starts_with("waiting"));
        view.health.accepted_at = Some(crate::model::time::UnixMillis(1));
        view.health.coverage = Some(0.987);
        view.organisation.agents = [3, 2, 1, 0, 0];
        let text = summary(&view);
        assert!(
            text.contains("available 3") && text.contains("98.7 % coverage"),
            "{text}"
        );
    }
}
