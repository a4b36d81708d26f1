//! The store as others see it: what writes, what reads, and what is done when it cannot.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::SystemClock;
use crate::config::PostgresConfig;
use crate::model::event::JournalRecord;
use crate::model::ids::UserId;
use crate::model::time::UnixMillis;

use super::super::arrivals::{Arrivals, Progress};
use super::super::handle::StoreStatus;
use super::super::prune::PruneReport;
use super::super::remote_write::DeadSamples;
use super::super::report::{CommitReport, StoreSettings, Suspects, lock};
use super::error::PostgresError;
use super::link::{Link, Live};
use super::migrate::{check, migrate};
use super::partitions;
use super::reader::PostgresReader;
use super::statements::{Asked, Query};
use super::transaction::{Batch, commit, sends_alone, take};
use super::values::Stamp;

/// Where one connection is kept, and made when there is none.
#[derive(Clone)]
pub(super) struct Desk(Arc<Inner>);

struct Inner {
    link: Arc<Link>,
    settings: StoreSettings,
    clock: SystemClock,
    /// Whether it may change the schema.
    writes: bool,
    live: Mutex<Option<Live>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("link", &self.0.link).finish()
    }
}

impl Desk {
    fn new(link: &Arc<Link>, settings: &StoreSettings, clock: SystemClock, writes: bool) -> Self {
        Self(Arc::new(Inner {
            link: Arc::clone(link),
            settings: settings.clone(),
            clock,
            writes,
            live: Mutex::new(None),
        }))
    }

    /// For whoever only reads, beside no writer of this process.
    pub(super) fn for_reading(
        config: &PostgresConfig,
        settings: &StoreSettings,
        clock: SystemClock,
    ) -> Result<Self, PostgresError> {
        Ok(Self::new(
            &Arc::new(Link::new(config)?),
            settings,
            clock,
            false,
        ))
    }

    pub(super) fn settings(&self) -> &StoreSettings {
        &self.0.settings
    }

    /// Works on the connection, which is made first if there is none. A connection on which
    /// anything failed, or whose work was broken off, is not used again.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Live) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, PostgresError> {
        let mut place = self.0.live.lock().await;
        let live = match place.take().filter(|live| !live.client.is_closed()) {
            Some(live) => live,
            None => self.connect().await?,
        };
        // Boxed, or whoever waits for a commit would carry all of its state.
        let done = self.0.link.ask(Box::pin(work(&live))).await?;
        *place = Some(live);
        Ok(done)
    }

    async fn connect(&self) -> Result<Live, PostgresError> {
        let Inner {
            link,
            clock,
            writes,
            ..
        } = &*self.0;
        let (client, driver) = link.connect().await?;
        if *writes {
            if let Some(from) = migrate(link, &client).await? {
                tracing::info!(from, "the schema in PostgreSQL was migrated");
            }
            let now = clock.now().wall;
            link.ask(partitions::make_ahead(&client, now)).await?;
        } else {
            check(link, &client).await?;
        }
        link.prepare(client, driver).await
    }
}

/// The store in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    writer: Desk,
    /// For whatever must not wait for a commit.
    reader: Desk,
    suspects: Suspects,
}

impl PostgresStore {
    /// Nothing is asked of the server yet; every call connects if need be.
    ///
    /// # Errors
    /// If the certificates to believe cannot be used.
    pub fn new(
        config: &PostgresConfig,
        settings: &StoreSettings,
        clock: SystemClock,
    ) -> Result<Self, PostgresError> {
        let link = Arc::new(Link::new(config)?);
        Ok(Self {
            writer: Desk::new(&link, settings, clock, true),
            reader: Desk::new(&link, settings, clock, false),
            suspects: Suspects::default(),
        })
    }

    /// The same store over a connection of its own.
    pub(in crate::store) fn beside(&self) -> Self {
        let Inner {
            link,
            settings,
            clock,
            writes,
            ..
        } = &*self.writer.0;
        Self {
            writer: Desk::new(link, settings, *clock, *writes),
            reader: self.reader.clone(),
            suspects: Arc::clone(&self.suspects),
        }
    }

    /// A reader beside this writer. Must be called within a runtime.
    pub fn reader(&self) -> PostgresReader {
        PostgresReader::new(self.reader.clone(), Arc::clone(&self.suspects))
    }

    /// Connects, brings the schema up to date, and says the greatest number committed.
    ///
    /// # Errors
    /// If the server does not answer or refuses, or its schema is newer.
    pub async fn open(&self) -> Result<u64, PostgresError> {
        let org = self.writer.settings().org.clone();
        self.writer
            .with(async |live| {
                let asked = live.query(Query::Progress, [&org]);
                match asked.await?.first() {
                    Some(row) => row.try_get::<_, i64>(0).map(|cursor| cursor as u64),
                    None => Ok(0),
                }
            })
            .await
    }

    /// Takes records, in any order and any number of times.
    ///
    /// # Errors
    /// If the server does not answer or refuses; the same batch can be tried again.
    pub async fn commit(
        &self,
        batch: &[(u64, JournalRecord)],
    ) -> Result<CommitReport, PostgresError> {
        self.take(Batch::Journal(batch)).await
    }

    /// Takes what came from producers, with their numbers; the same holds.
    ///
    /// # Errors
    /// As for [`Self::commit`].
    pub(in crate::store) async fn commit_arrivals(
        &self,
        arrivals: &Arrivals,
    ) -> Result<CommitReport, PostgresError> {
        self.take(Batch::Arrivals(arrivals)).await
    }

    async fn take(&self, batch: Batch<'_>) -> Result<CommitReport, PostgresError> {
        let suspects = std::mem::take(&mut *lock(&self.suspects));
        let committed = self.try_commit(batch, &suspects).await;
        if committed.is_err() {
            lock(&self.suspects).extend(suspects);
        }
        committed
    }

    async fn try_commit(
        &self,
        batch: Batch<'_>,
        suspects: &BTreeSet<(UserId, UnixMillis)>,
    ) -> Result<CommitReport, PostgresError> {
        let settings = self.writer.settings();
        self.writer
            .with(async |live| commit(live, settings, batch, suspects).await)
            .await
    }

    /// Raises the floors of producers as far as their numbers follow without a hole.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn settle(&self) -> Result<Vec<Progress>, PostgresError> {
        let org = &self.reader.settings().org;
        self.reader
            .with(async |live| {
                for query in [Query::MeetProducers, Query::RaiseFloors, Query::ForgetTaken] {
                    live.query(query, [org]).await?;
                }
                let rows = live.query(Query::Floors, [org]).await?;
                let progress = rows.iter().map(|row| {
                    Ok(Progress {
                        producer: row.try_get(0)?,
                        floor: row.try_get::<_, i64>(1)? as u64,
                        next: row.try_get::<_, Option<i64>>(2)?.map(|next| next as u64),
                    })
                });
                progress.collect()
            })
            .await
    }

    /// Notes numbers of a producer that will never come; says how many were not noted before.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn forgo(&self, given_up: &[(Arc<str>, u64)]) -> Result<u64, PostgresError> {
        let org = &self.reader.settings().org;
        self.reader
            .with(async |live| match take(Query::Forgo, org, given_up) {
                Some(change) => live.execute(&change).await,
                None => Ok(0),
            })
            .await
    }

    /// Makes partitions ahead, and forgets what is older than the day of `before`: windows, and
    /// facts that no later row needs. Call it again while the report says `more`.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn prune(&self, before: UnixMillis) -> Result<PruneReport, PostgresError> {
        let (settings, now) = (self.writer.settings(), self.writer.0.clock.now().wall);
        self.writer
            .with(async |live| {
                partitions::make_ahead(&live.client, now).await?;
                partitions::prune(live, settings, before).await
            })
            .await
    }

    /// Whether this instance is the one that sends closed windows.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn sends_alone(&self) -> Result<bool, PostgresError> {
        let org = &self.reader.settings().org;
        self.reader
            .with(async |live| sends_alone(live, org).await)
            .await
    }

    /// The end of the last window that remote write has sent; `None` before the first.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn sent_until(&self) -> Result<Option<UnixMillis>, PostgresError> {
        let org = &self.reader.settings().org;
        self.reader
            .with(async |live| {
                let rows = live.query(Query::SentUntil, [org]).await?;
                let until = rows.first().map(|row| row.try_get(0).map(UnixMillis));
                until.transpose()
            })
            .await
    }

    /// Notes how far remote write has come, with what it was refused.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn note_sent(
        &self,
        until: UnixMillis,
        dead: &[DeadSamples],
    ) -> Result<(), PostgresError> {
        let org = &self.reader.settings().org;
        let ends: Vec<Stamp> = dead.iter().map(|letter| Stamp(letter.window_end)).collect();
        let statuses: Vec<i64> = dead.iter().map(|letter| letter.status.into()).collect();
        let reasons: Vec<&str> = dead.iter().map(|letter| letter.reason.as_str()).collect();
        let bodies: Vec<&[u8]> = dead.iter().map(|letter| letter.body.as_slice()).collect();
        self.reader
            .with(async |live| {
                let params: [Asked<'_>; 6] = [org, &until.0, &ends, &statuses, &reasons, &bodies];
                live.query(Query::NoteSent, params).await
            })
            .await
            .map(|_| ())
    }

    /// Every window that ends at or before this instant is closed for every agent that is on the
    /// roster; `None` while nobody is.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn window_closed_until(&self) -> Result<Option<UnixMillis>, PostgresError> {
        let StoreSettings { org, window, .. } = self.reader.settings();
        self.reader
            .with(async |live| {
                let rows = live.query(Query::ClosedForAll, [org, &window.slide.0]);
                let least: Option<i64> = match rows.await?.first() {
                    Some(row) => row.try_get(0)?,
                    None => None,
                };
                Ok(least.map(|least| window.last_end(UnixMillis(least))))
            })
            .await
    }

    /// How far the store is, and how large.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn status(&self) -> Result<StoreStatus, PostgresError> {
        let org = &self.reader.settings().org;
        self.reader
            .with(async |live| {
                let progress = live.query(Query::Progress, [org]).await?;
                let size = live.query(Query::Size, []).await?;
                let first = |rows: &[tokio_postgres::Row]| match rows.first() {
                    Some(row) => row.try_get::<_, i64>(0).map(|value| value as u64),
                    None => Ok(0),
                };
                Ok(StoreStatus {
                    cursor: first(&progress)?,
                    size_bytes: first(&size)?,
                })
            })
            .await
    }
}
