//! A connection to PostgreSQL that is made anew after every failure.
//!
//! Whatever goes wrong on a connection, it is thrown away: the server forgets what was not
//! committed, and nobody has to know how far it had come. Sessions are set up so that neither a
//! slow server nor a lost one can hold anybody up for ever.

use std::future::Future;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::Instrument as _;

use crate::config::{PostgresConfig, PostgresHost, PostgresTls};

use super::error::PostgresError;
use super::statements::Statements;

/// Longest wait for one server to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Longest wait for the answer to anything: above the server's own limits, which tell more.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(45);

/// A connection over which nothing comes is given up after this long.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The first version that can do all that is asked: unique keys on partitions, pruning while
/// running, and `pg_partition_tree`. 130000 reads as 13.0, the oldest that was kept up when this
/// was written.
const VERSION_MIN: i64 = 130_000;

/// How every session begins. A commit that was answered must have reached the disk; a server that
/// is set up to keep more than its own disk's word keeps doing so. Statements take arrays, of which
/// a plan can know nothing, so each is planned once a connection.
const SESSION: &str = "
    SET application_name = 'genesys-cloud-exporter';
    SET TimeZone = 'UTC';
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '30s';
    SET lock_timeout = '20s';
    SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = 'warning';
    SET jit = off;
    SET plan_cache_mode = 'force_generic_plan';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off';
";

/// What reaches the server.
#[derive(Debug)]
pub(super) struct Link {
    config: tokio_postgres::Config,
    tls: Option<rustls::ClientConfig>,
    place: String,
}

/// A connection that was set up.
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) statements: Statements,
    driver: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Nothing is sent yet.
    pub(super) fn new(settings: &PostgresConfig) -> Result<Self, PostgresError> {
        let mut config = tokio_postgres::Config::new();
        for host in &settings.hosts {
            match host {
                PostgresHost::Tcp(name, port) => config.host(name).port(*port),
                PostgresHost::Socket(directory, port) => config.host_path(directory).port(*port),
            };
        }
        config
            .user(&settings.user)
            .dbname(&settings.database)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX / 3)
            .keepalives_interval(SILENCE_MAX / 6);
        if let Some(password) = &settings.password {
            config.password(password.expose_secret());
        }
        if let Some(options) = &settings.options {
            config.options(options);
        }
        let tls = match &settings.tls {
            PostgresTls::Disabled => None,
            PostgresTls::VerifyFull { roots } => Some(believing(roots.as_deref())?),
        };
        config.ssl_mode(match tls {
            None => SslMode::Disable,
            Some(_) => SslMode::Require,
        });
        let hosts: Vec<String> = settings.hosts.iter().map(PostgresHost::describe).collect();
        Ok(Self {
            config,
            tls,
            place: hosts.join(", "),
        })
    }

    /// A client on a new connection, its session set up, and the task that drives it.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), PostgresError> {
        let source = |source| PostgresError::Connect {
            place: self.place.clone(),
            source,
        };
        let (client, driver) = if let Some(tls) = &self.tls {
            let connector = MakeRustlsConnect::new(tls.clone());
            let (client, connection) = self
                .within(self.config.connect(connector))
                .await?
                .map_err(source)?;
            (client, tokio::spawn(drive(connection).in_current_span()))
        } else {
            let (client, connection) = self
                .within(self.config.connect(NoTls))
                .await?
                .map_err(source)?;
            (client, tokio::spawn(drive(connection).in_current_span()))
        };
        self.ask(client.batch_execute(SESSION)).await?;
        let version = "SELECT current_setting('server_version_num')::bigint";
        let found: i64 = self.ask(client.query_one(version, &[])).await?.get(0);
        if found < VERSION_MIN {
            driver.abort();
            return Err(PostgresError::OldServer {
                place: self.place.clone(),
                found,
                least: VERSION_MIN,
            });
        }
        Ok((client, driver))
    }

    /// Makes a client ready for work: the schema is as it should be.
    pub(super) async fn prepare(
        &self,
        client: Client,
        driver: JoinHandle<()>,
    ) -> Result<Live, PostgresError> {
        let statements = self.ask(Statements::prepare(&client)).await?;
        Ok(Live {
            client,
            statements,
            driver,
        })
    }

    /// Waits for an answer, within a bound.
    pub(super) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        self.within(answer)
            .await?
            .map_err(|source| PostgresError::Database {
                place: self.place.clone(),
                source,
            })
    }

    async fn within<T>(&self, answer: impl Future<Output = T>) -> Result<T, PostgresError> {
        tokio::time::timeout(ANSWER_MAX, answer)
            .await
            .map_err(|_| PostgresError::Timeout {
                place: self.place.clone(),
                seconds: ANSWER_MAX.as_secs(),
            })
    }
}

/// Drives a connection until it ends. Why it ended, every call on it says.
async fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the connection to PostgreSQL ended");
    }
}

/// Believes certificates that these vouch for, or whom the system believes.
fn believing(roots: Option<&str>) -> Result<rustls::ClientConfig, PostgresError> {
    let refuse = |reason: String| PostgresError::Certificates { reason };
    let mut store = rustls::RootCertStore::empty();
    if let Some(pem) = roots {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            store
                .add(certificate)
                .map_err(|error| refuse(error.to_string()))?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        let reason = "there is none; name a file in sslrootcert".to_owned();
        return Err(refuse(reason));
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(error.to_string()))?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}
