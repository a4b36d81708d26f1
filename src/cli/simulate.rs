//! `simulate`: only the simulated organisation.

use std::sync::{Arc, Mutex};

use super::service::{self, ServiceError};
use super::{Exit, SimulateArgs, complain, logging, print};
use crate::clock::SystemClock;
use crate::simulator::faults::FaultPlan;
use crate::simulator::notifications::NotificationOptions;
use crate::simulator::org::OrgSpec;
use crate::simulator::platform::{SimulatedPlatform, SimulatorOptions};
use crate::simulator::serve::serve;

/// Serves the simulated organisation until a signal.
pub fn run(args: &SimulateArgs) -> Exit {
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
    service::run(simulate(args.clone(), faults, clock))
}

async fn simulate(
    args: SimulateArgs,
    faults: FaultPlan,
    clock: SystemClock,
) -> Result<Exit, ServiceError> {
    let mut stop = service::stop_signal()?;
    let org = OrgSpec {
        tempo: args.tempo,
        min_state: args.min_state,
        volatile_share: args.volatile_share,
        ..OrgSpec::new(args.org.agents, args.org.queues, args.org.seed)
    };
    let options = SimulatorOptions {
        client_id: args.client_id,
        client_secret: args.client_secret,
        token_lifetime: args.token_lifetime,
        requests_per_minute: args.requests_per_minute,
        cache_refresh: args.cache_refresh,
        history: args.history,
        dialect: args.dialect,
        notifications: NotificationOptions {
            channel_lifetime: args.channel_lifetime,
            ..NotificationOptions::default()
        },
        faults,
        ..SimulatorOptions::new(org, clock.now().wall)
    };
    let platform = SimulatedPlatform::new(options).map_err(ServiceError::Organisation)?;
    let platform = Arc::new(Mutex::new(platform));
    let listeners = service::listen(&[args.listen], "--listen").await?;
    for listener in listeners {
        let address = service::address(&listener)?;
        tracing::info!(%address, "listening");
        print(&format!(
            "simulated organisation at http://{address} ({} agents, {} queues, seed {})",
            args.org.agents, args.org.queues, args.org.seed
        ));
        let stopped = async {
            // The sender ends with the process.
            let _ = stop.wait_for(|stopped| *stopped).await;
        };
        serve(listener, Arc::clone(&platform), clock, stopped).await;
    }
    Ok(Exit::Fine)
}
