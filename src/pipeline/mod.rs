//! The pure pipeline: owns the stages, takes what happened, returns what to do.
//!
//! One state machine without I/O, clock or async. Under the driver it runs the exporter; under
//! the virtual-time harness it runs simulated days, with the very same bytes.
//!
//! | file | decides |
//! |---|---|
//! | `plan` | which request goes out next, under the budget |
//! | `answers` | what an HTTP answer means for its request: done, repeat, refused |
//! | `dialect` | what is asked in a dialect, and what the answers mean |
//! | `snapshots` | whether a snapshot is believed |
//! | `directory` | registry, queues and members |
//! | `names` | agents' names, where they are wanted |
//! | `joins` | routing states, stuck checks, divergence |
//! | `push` | channels of push, and what their frames mean |
//! | `backfill`, `after_call` | what is asked afterwards, to know better what was |
//! | `reconfigure` | what a new configuration changes |
//! | `commit` | when what changed is made durable and shown |

mod after_call;
mod answers;
mod backfill;
mod commit;
mod dialect;
mod directory;
mod joins;
mod names;
mod plan;
mod push;
mod reconfigure;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::PipelineConfig;
use crate::effect::{Effect, Level, Notice};
use crate::model::ids::UserId;
use crate::model::time::{Millis, Monotonic, Now, UnixMillis};
use crate::model::view::{Health, SnapshotOutcome, View};
use crate::poller::{Auth, Breaker, Budget, Cycle, Priority, RetryBudget};
use crate::reconciler::checkpoint::CheckpointError;
use crate::reconciler::joins::JoinClass;
use crate::reconciler::reconcile::Reconciler;
use crate::reconciler::skew::Skew;
use crate::snapshot::{Delta, Registry, Scan};
use crate::upstream::request::{ApiRequest, RequestId};
use crate::upstream::response::Answer;

use self::after_call::AfterCall;
use self::backfill::Backfill;
use self::dialect::{ScanReader, Spoken};
use self::directory::DirectoryLoad;
use self::names::Names;
use self::push::Push;

/// Reads seconds from somewhere, for measuring phases only: nothing is decided by it.
pub type Stopwatch = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Login,
    Probe,
    Snapshot,
    Registry,
    Queues,
    Members,
    Join(UserId, JoinClass),
    Sample(UserId),
    OpenInteractions(UserId),
    Direct(UserId),
    Backfill,
    AfterCall(UserId),
    OpenChannel(usize),
    Subscribe(usize),
}

/// A request that is out, or waits to be repeated.
#[derive(Debug, Clone)]
struct Flight {
    task: Task,
    request: ApiRequest,
    priority: Priority,
    /// Retries made.
    attempt: u32,
    /// Repeated once for a 401 already.
    reauthorised: bool,
    /// Generation of the token that it was sent with.
    generation: u64,
}

impl Flight {
    fn new(task: Task, request: ApiRequest, priority: Priority) -> Self {
        Self {
            task,
            request,
            priority,
            attempt: 0,
            reauthorised: false,
            generation: 0,
        }
    }
}

/// A scan in progress.
#[derive(Debug, Clone)]
struct RunningScan {
    scan: Scan,
    admitted_at: Monotonic,
    sent_at: Now,
    /// The platform's clock showed at least this when the first page was sent, by what was known
    /// when that page came: a later page may tell of a clock that was stepped meanwhile, or of a
    /// machine that slept.
    described_at: Option<UnixMillis>,
    pages_admitted: u32,
    pages_sent: u32,
}

/// The pipeline.
pub struct Pipeline {
    config: PipelineConfig,
    stopwatch: Stopwatch,
    started_at: Monotonic,
    /// Time was accrued before this start.
    resumed: bool,

    cycle: Cycle,
    budget: Budget,
    breaker: Breaker,
    auth: Auth,
    retry_budget: RetryBudget,
    skew: Skew,
    registry: Registry,
    delta: Delta,
    reconciler: Reconciler,
    directory: DirectoryLoad,
    names: Names,

    next_request: u64,
    flights: BTreeMap<RequestId, Flight>,
    /// Waiting to be sent again, and from when.
    repeats: Vec<(Monotonic, Flight)>,
    /// The dialect, once it is known.
    spoken: Option<Spoken>,
    /// Push; `None` where it is off or not spoken.
    push: Option<Push>,
    scan: Option<RunningScan>,
    reader: ScanReader,
    snapshot_pages: u32,
    registry_loading: bool,
    /// Joins of the cycle are going on since then.
    joining_since: Option<Monotonic>,
    divergence_due: Monotonic,
    divergence_until: Monotonic,
    divergence_rounds: u64,
    suspects: VecDeque<UserId>,
    direct: VecDeque<UserId>,
    backfill: Backfill,
    after_call: AfterCall,

    health: Health,
    notices: Vec<Effect>,
    commit_at: Option<Monotonic>,
    committed_at: Monotonic,
    sequence: u64,
    appending: Option<(u64, Arc<View>, Monotonic)>,
    registry_changed: bool,
    /// When the budget could next admit something that waits.
    wake_at: Option<Monotonic>,
    planned_at: Option<Monotonic>,
}

impl Pipeline {
    /// Takes up where `checkpoint` left off; an empty one is a first start. Its texts are let go of
    /// one by one: of 100,000 agents they are half of all that is in memory later.
    ///
    /// # Errors
    /// [`CheckpointError`] if an entry of the checkpoint cannot be read.
    pub fn new(
        config: PipelineConfig,
        checkpoint: Vec<(String, String)>,
        now: Now,
    ) -> Result<Self, CheckpointError> {
        let is_own =
            |(key, _): &(String, String)| key == directory::REGISTRY || key == commit::BUDGET;
        let (own, checkpoint): (Vec<_>, Vec<_>) = checkpoint.into_iter().partition(is_own);
        let reconciler = Reconciler::restore(config.clone(), checkpoint)?;
        let mut registry = Registry::new(config.registry_refresh);
        directory::restore(&mut registry, &reconciler, &own)?;
        let mut budget = Budget::new(config.requests_per_minute, config.max_in_flight);
        commit::restore_budget(&mut budget, &own, now)?;
        let health = Health {
            snapshots: SnapshotOutcome::ALL.into_iter().map(|o| (o, 0)).collect(),
            ..Health::default()
        };
        let configured = Spoken::configured(config.dialect);
        let mut pipeline = Self {
            resumed: reconciler.has_accrued(),
            cycle: Cycle::new(
                &config.org,
                config.poll_interval,
                config.retry_backoff,
                now.mono,
            ),
            budget,
            breaker: Breaker::new(
                config.breaker_failures,
                config.breaker_cooldown,
                config.breaker_max_cooldown,
            ),
            auth: Auth::new(),
            retry_budget: RetryBudget::new(),
            skew: Skew::default(),
            directory: DirectoryLoad::new(now.mono),
            names: Names::new(config.names),
            registry,
            delta: Delta::new(),
            reconciler,
            next_request: 1,
            flights: BTreeMap::new(),
            repeats: Vec::new(),
            spoken: None,
            push: None,
            scan: None,
            reader: ScanReader::default(),
            snapshot_pages: 1,
            registry_loading: false,
            joining_since: None,
            divergence_due: now.mono + config.divergence_interval,
            divergence_until: now.mono,
            divergence_rounds: 0,
            suspects: VecDeque::new(),
            direct: VecDeque::new(),
            backfill: Backfill::default(),
            after_call: AfterCall::default(),
            health,
            notices: Vec::new(),
            commit_at: None,
            committed_at: now.mono,
            sequence: 0,
            appending: None,
            registry_changed: false,
            wake_at: None,
            planned_at: None,
            started_at: now.mono,
            stopwatch: Arc::new(|| 0.0),
            config,
        };
        if let Some(spoken) = configured {
            pipeline.adopt(spoken, now.mono);
        }
        Ok(pipeline)
    }

    /// Measures phases with this.
    pub fn with_stopwatch(mut self, stopwatch: Stopwatch) -> Self {
        self.stopwatch = stopwatch;
        self
    }

    /// When [`Self::on_due`] is to be called at the latest; it may have passed already.
    pub fn next_deadline(&self, now: Now) -> Monotonic {
        let Some(planned_at) = self.planned_at else {
            return now.mono;
        };
        let heartbeat = self.committed_at + self.cycle.effective_interval();
        let mut deadline = heartbeat.max(now.mono + HEARTBEAT_MIN);
        // What was due when the plan was last made and did not go out waits for the budget.
        let mut consider = |at: Option<Monotonic>| {
            if let Some(at) = at.filter(|at| *at > planned_at) {
                deadline = deadline.min(at);
            }
        };
        if self.appending.is_none() {
            consider(self.commit_at);
        }
        consider(self.wake_at);
        let push = self.push.as_ref();
        consider(push.and_then(|push| push.notifier.next_deadline()));
        consider(self.auth.next_deadline());
        consider(self.repeats.iter().map(|(at, _)| *at).min());
        if self.auth.usable(now.mono) {
            if self.scan.is_none() && (self.spoken.is_none() || self.may_scan()) {
                consider(Some(self.cycle.due()));
            }
            if !self.registry_loading {
                consider(self.registry.next_due());
            }
            consider(self.directory.due());
            consider(self.backfill.due());
            if self.health.accepted_at.is_some() && !self.reconciler.divergence.is_running() {
                consider(Some(self.divergence_due));
            }
            let by_age = self.spoken.is_some_and(|spoken| !spoken.scan_confirms());
            consider(
                self.reconciler
                    .upkeep_due()
                    .filter(|_| by_age)
                    .map(|due| now.mono + (due - self.skew.platform_at_least(now))),
            );
        }
        deadline
    }

    /// Whether an append has been asked for and not been reported yet.
    pub fn is_appending(&self) -> bool {
        self.appending.is_some()
    }

    /// The exporter stops: what is held is made durable; nothing more is asked.
    pub fn on_stop(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.appending.is_none() {
            self.commit(now, &mut effects);
        }
        effects.append(&mut self.notices);
        effects
    }

    /// Time has passed.
    pub fn on_due(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.proceed(now, &mut effects);
        effects
    }

    /// A request was answered, or failed.
    pub fn on_answer(&mut self, answer: Answer, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take_answer(answer, now, &mut effects);
        self.proceed(now, &mut effects);
        effects
    }

    /// An append is durable. What follows is due at once, by [`Self::next_deadline`]: the next view
    /// is built when this one has taken the place of the last, so that no third is in memory.
    pub fn on_appended(&mut self, sequence: u64) -> Vec<Effect> {
        self.planned_at = None;
        let Some((expected, view, _)) = self.appending.take() else {
            return Vec::new();
        };
        assert_eq!(expected, sequence, "one append at a time");
        vec![Effect::Publish(view)]
    }

    /// What every step ends with: requests that may go out, and a commit if one is due.
    fn proceed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.planned_at = Some(now.mono);
        self.plan(now, effects);
        self.commit_if_due(now, effects);
        effects.append(&mut self.notices);
    }

    fn notice(&mut self, level: Level, kind: &'static str, message: String) {
        self.notices.push(Effect::Notice(Notice {
            level,
            kind,
            message,
        }));
    }

    /// The platform's clock now, at least.
    fn platform_now(&self, now: Now) -> UnixMillis {
        self.skew.platform_at_least(now)
    }
}

/// The view ages even when nothing happens, so it is rebuilt about once an interval, but no more
/// often than this.
const HEARTBEAT_MIN: Millis = Millis(100);
