//! `run`: the exporter.

use std::sync::Arc;

use super::service::{self, ServiceError};
use super::{Exit, RunArgs, complain, logging};
use crate::app::{App, Reloading};
use crate::clock::SystemClock;
use crate::config::{Config, Environment};
use crate::expose::{Access, AccessError};
use crate::model::error::chain;
use crate::model::time::UnixMillis;

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
    if let Err(error) = protects(&loaded.config, clock.now().wall) {
        complain(&format_args!("error: {}", chain(&error)));
        return Exit::Usage;
    }
    let log = match logging::init(loaded.config.log, clock) {
        Ok(log) => log,
        Err(error) => {
            complain(&error);
            return Exit::Failed;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let (args, environment) = (args.clone(), environment.clone());
    let reloading = Reloading {
        loaded,
        loader: Arc::new(move || args.load(&environment)),
        log: Box::new(move |config| log.set(config)),
    };
    service::run(serve(reloading, clock))
}

/// Certificates that do not fit are a mistake of the configuration.
pub(super) fn protects(config: &Config, now: UnixMillis) -> Result<(), AccessError> {
    Access::open(config.web.config_file.as_deref(), &config.web.listen, now).map(drop)
}

async fn serve(reloading: Reloading, clock: SystemClock) -> Result<Exit, ServiceError> {
    let config = reloading.loaded.config.clone();
    let stop = service::stop_signal()?;
    let listeners = service::listen(&config.web.listen, "--web.listen-address").await?;
    let app = App::build(config, clock).await.map_err(ServiceError::App)?;
    let (app, reloads) = app.reloading(reloading);
    service::reload_signal(reloads)?;
    for listener in &listeners {
        let address = service::address(listener)?;
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    app.run(listeners, stop).await.map_err(ServiceError::App)?;
    tracing::info!("stopped");
    Ok(Exit::Fine)
}
