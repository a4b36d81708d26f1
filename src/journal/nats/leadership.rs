//! The lease of pollers, in a key-value bucket of NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv;
use bytes::Bytes;
use tokio::sync::watch;

use super::error::NatsError;
use super::link::NatsLink;
use crate::clock::SystemClock;
use crate::journal::drain::{is_stopped, stopped};
use crate::journal::lease::{Claim, Move, Permit, Watch};
use crate::model::time::Millis;

/// What was spent is told this soon at the earliest after it was told last.
const TOLD_APART: Duration = Duration::from_millis(200);

/// After an error the lease is asked for again this soon.
const RETRY: Duration = Duration::from_millis(300);

/// Looks and renewals in the time that a lease holds.
const LOOKS: u32 = 6;

/// Why the holder does not hold the lease any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// We were told to stop; it was given back.
    Stopped,
    /// It ran out, or somebody else has it.
    Lost,
}

/// Seeks and keeps the lease.
pub struct Leadership {
    link: NatsLink,
    me: String,
    ttl: Millis,
    clock: SystemClock,
    permit: Arc<Permit>,
    /// What we have spent.
    spent: watch::Receiver<String>,
    watch: Watch,
    bucket: Option<kv::Store>,
}

/// Why a renewal failed.
enum Refusal {
    /// Somebody else has written.
    Taken,
    Failed(NatsError),
}

impl From<NatsError> for Refusal {
    fn from(error: NatsError) -> Self {
        Self::Failed(error)
    }
}

impl Leadership {
    /// Seeks nothing yet. `me` must be the same after a restart, and nobody else's.
    pub fn new(
        link: NatsLink,
        me: &str,
        ttl: Millis,
        clock: SystemClock,
        spent: watch::Receiver<String>,
    ) -> Self {
        Self {
            watch: Watch::new(me, ttl),
            link,
            me: me.to_owned(),
            ttl,
            clock,
            permit: Arc::new(Permit::none()),
            spent,
            bucket: None,
        }
    }

    /// Until when we may act; true only while the lease is ours.
    pub fn permit(&self) -> Arc<Permit> {
        Arc::clone(&self.permit)
    }

    /// Waits until the lease is ours: its revision, and what whoever had it before has spent.
    pub async fn acquire(&mut self) -> (u64, Option<String>) {
        loop {
            match self.attempt().await {
                // Won too slowly, it has run out already; being ours, it is won again at once.
                Ok(Some(won)) if self.permit.holds(self.clock.now()) => return won,
                Ok(Some(_)) => {}
                Ok(None) => tokio::time::sleep(self.ttl.to_duration() / LOOKS).await,
                Err(error) => {
                    self.bucket = None;
                    tell(&error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Option<(u64, Option<String>)>, NatsError> {
        let written = self.read().await?;
        let seen = written.as_ref().map(|(revision, claim)| (*revision, claim));
        let Move::Take(revision) = self.watch.look(seen, self.clock.now().mono) else {
            return Ok(None);
        };
        let spent = written.map(|(_, claim)| claim.spent);
        let own = spent.clone().unwrap_or_default();
        // From before it is asked for; not from before we knew that we may ask.
        let now = self.clock.now();
        match self.write(&self.me.clone(), &own, revision).await {
            Ok(revision) => {
                self.permit.prolong(now, self.ttl);
                Ok(Some((revision, spent)))
            }
            Err(Refusal::Taken) => {
                self.watch.missed();
                Ok(None)
            }
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    /// Keeps what was acquired, until `stop` turns true or it is lost. The permit ends by itself
    /// if NATS cannot be reached.
    pub async fn keep(&mut self, mut revision: u64, mut stop: watch::Receiver<bool>) -> Kept {
        let every = self.ttl.to_duration() / LOOKS;
        while !is_stopped(&stop) {
            let pause = tokio::time::sleep(every);
            tokio::select! {
                () = pause => {}
                _ = self.spent.changed() => tokio::time::sleep(TOLD_APART).await,
                () = stopped(&mut stop) => break,
            }
            let renewed = tokio::time::timeout(every, self.renew(revision)).await;
            match renewed {
                Ok(Ok(next)) => revision = next,
                Ok(Err(Refusal::Taken)) => {
                    self.permit.revoke();
                    return Kept::Lost;
                }
                Ok(Err(Refusal::Failed(error))) => {
                    self.bucket = None;
                    tell(&error);
                    tokio::time::sleep(RETRY).await;
                }
                Err(_) => self.bucket = None,
            }
            if !self.permit.holds(self.clock.now()) {
                self.permit.revoke();
                return Kept::Lost;
            }
        }
        Kept::Stopped
    }

    /// Writes that we still have it. After a failure it may have been written all the same.
    async fn renew(&mut self, revision: u64) -> Result<u64, Refusal> {
        let now = self.clock.now();
        let spent = self.spent.borrow_and_update().clone();
        let me = self.me.clone();
        let written = match self.write(&me, &spent, Some(revision)).await {
            Err(Refusal::Taken) => match self.read().await? {
                Some((written, claim)) if claim.holder == me => {
                    self.write(&me, &spent, Some(written)).await
                }
                Some(_) => Err(Refusal::Taken),
                // The bucket was lost with what was in it. Nobody takes it before its time.
                None => self.write(&me, &spent, None).await,
            },
            written => written,
        }?;
        self.permit.prolong(now, self.ttl);
        Ok(written)
    }

    /// Gives it back, so that another need not wait for it to run out.
    pub async fn release(&mut self) {
        self.permit.revoke();
        let spent = self.spent.borrow().clone();
        let written = match self.read().await {
            Ok(Some((revision, claim))) if claim.holder == self.me => {
                self.write("", &spent, Some(revision)).await.map(drop)
            }
            _ => Ok(()),
        };
        if written.is_err() {
            tracing::info!(
                kind = "lease",
                "the lease could not be given back; it runs out"
            );
        }
    }

    async fn read(&mut self) -> Result<Option<(u64, Claim)>, NatsError> {
        let key = self.link.org.clone();
        let entry = self.bucket().await?.entry(key).await;
        let entry = entry.map_err(self.link.refused("read the lease"))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        // What cannot be read is somebody's of another version: it holds while it moves.
        let claim = serde_json::from_slice(&entry.value).unwrap_or_else(|_| Claim {
            holder: "?".to_owned(),
            spent: String::new(),
        });
        Ok(Some((entry.revision, claim)))
    }

    /// Writes in place of `revision`, or where there is nothing.
    async fn write(
        &mut self,
        holder: &str,
        spent: &str,
        revision: Option<u64>,
    ) -> Result<u64, Refusal> {
        let claim = Claim {
            holder: holder.to_owned(),
            spent: spent.to_owned(),
        };
        let claim = serde_json::to_vec(&claim).expect("two texts have a JSON form");
        let (key, claim) = (self.link.org.clone(), Bytes::from(claim));
        let bucket = self.bucket().await?;
        match revision {
            Some(revision) => match bucket.update(&key, claim, revision).await {
                Ok(written) => Ok(written),
                Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                    Err(Refusal::Taken)
                }
                Err(error) => Err(self.link.refused("write the lease")(error).into()),
            },
            None => match bucket.create(&key, claim).await {
                Ok(written) => Ok(written),
                Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => {
                    Err(Refusal::Taken)
                }
                Err(error) => Err(self.link.refused("write the lease")(error).into()),
            },
        }
    }

    async fn bucket(&mut self) -> Result<kv::Store, NatsError> {
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.clone());
        }
        let bucket = self.link.lease_bucket().await?;
        self.bucket = Some(bucket.clone());
        Ok(bucket)
    }
}

fn tell(error: &NatsError) {
    let error = crate::model::error::chain(error);
    tracing::warn!(
        kind = "lease",
        error,
        "the lease of pollers is out of reach"
    );
}
