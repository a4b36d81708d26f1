//! `run`: the exporter.

use super::service::{self, ServiceError};
use super::{Exit, RunArgs, complain, logging};
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Config, Environment};

/// Loads the configuration and runs until a signal.
pub fn run(args: &RunArgs, environment: &Environment) -> Exit {
    let loaded = match args.load(environment) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let clock = SystemClock::new();
    if let Err(error) = logging::init(loaded.config.log, clock) {
        complain(&error);
        return Exit::Failed;
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    service::run(serve(loaded.config, clock))
}

async fn serve(config: Config, clock: SystemClock) -> Result<Exit, ServiceError> {
    let stop = service::stop_signal()?;
    let listeners = service::listen(&config.web.listen, "--web.listen-address").await?;
    let app = App::build(config, clock).await.map_err(ServiceError::App)?;
    for listener in &listeners {
        let address = service::address(listener)?;
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    app.run(listeners, stop).await.map_err(ServiceError::App)?;
    tracing::info!("stopped");
    Ok(Exit::Fine)
}
