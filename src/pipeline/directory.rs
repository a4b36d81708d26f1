//! Registry, queues and members: loaded page by page, replaced whole, kept when a load fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Flight, Pipeline, Task};
use crate::effect::{Effect, Level};
use crate::model::ids::{QueueId, UserId};
use crate::model::time::{Millis, Monotonic, Now};
use crate::poller::Priority;
use crate::reconciler::checkpoint::CheckpointError;
use crate::reconciler::reconcile::Reconciler;
use crate::snapshot::{Listing, Progress, Registry, RegistryChange, Step};
use crate::upstream::request::ApiRequest;
use crate::upstream::wire_status;

/// Checkpoint key of the registry.
pub(super) const REGISTRY: &str = "registry";

/// Queues whose members are loaded side by side: enough to hide the round trip, few enough to
/// leave the places in flight to joins.
const MEMBERS_AT_ONCE: usize = 4;

/// A list of queues that could not be loaded is asked for again after this long.
const QUEUES_RETRY: Millis = Millis::from_secs(60);

/// Members change in bursts, at shift changes: one load serves all that changed in this time.
const MEMBERS_GATHER: Millis = Millis::from_secs(60);

/// Queues as listed: id and name.
type Listed = Vec<(QueueId, Arc<str>)>;

/// Loading of queues and members.
#[derive(Debug, Clone)]
pub(super) struct DirectoryLoad {
    /// When the next load is due; `None` while one is under way.
    due: Option<Monotonic>,
    /// Another load is wanted after this one.
    again: bool,
    listing: Option<(Listing, Listed)>,
    to_load: VecDeque<QueueId>,
    loading: BTreeMap<QueueId, (Listing, BTreeSet<UserId>)>,
    /// A load has come to its end since start: whatever could be known is.
    pub(super) complete: bool,
}

impl DirectoryLoad {
    pub(super) fn new(now: Monotonic) -> Self {
        Self {
            due: Some(now),
            again: false,
            listing: None,
            to_load: VecDeque::new(),
            loading: BTreeMap::new(),
            complete: false,
        }
    }

    /// Members have changed: the next load is due, unless one is under way or was a moment ago.
    pub(super) fn soon(&mut self, now: Monotonic) {
        let at = now + MEMBERS_GATHER;
        self.due = self.due.map(|due| due.min(at));
    }

    /// The next load is due now, or as soon as the one under way has ended.
    pub(super) fn at_once(&mut self, now: Monotonic) {
        self.again = self.due.is_none();
        self.due = self.due.map(|_| now);
    }

    pub(super) fn due(&self) -> Option<Monotonic> {
        self.due
    }
}

/// Takes the registry of an earlier run, with the ids that the reconciler holds.
pub(super) fn restore(
    registry: &mut Registry,
    reconciler: &Reconciler,
    checkpoint: &[(String, String)],
) -> Result<(), CheckpointError> {
    if let Some((key, value)) = checkpoint.iter().find(|(key, _)| key == REGISTRY) {
        let ids: BTreeSet<UserId> =
            serde_json::from_str(value).map_err(|e| CheckpointError::new(key, e))?;
        registry.restore(ids.into_iter().map(|id| reconciler.held(id)).collect());
    }
    Ok(())
}

impl Pipeline {
    pub(super) fn plan_registry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.registry_loading || !self.registry.due(now.mono) {
            return;
        }
        let priority = self.registry_priority();
        if self.admit(priority, 1, now.mono) {
            self.registry.begin(now.mono);
            self.registry_loading = true;
            let request = ApiRequest::Users { page: 1 };
            self.send(Task::Registry, request, priority, effects);
        }
    }

    /// Without a registry no snapshot can be judged, so the first one comes first.
    fn registry_priority(&self) -> Priority {
        if self.registry.is_known() {
            Priority::Upkeep
        } else {
            Priority::Snapshot
        }
    }

    pub(super) fn on_registry_page(&mut self, body: &[u8], now: Now, effects: &mut Vec<Effect>) {
        let names = &mut self.names;
        let note = &mut |user: &UserId, name: &str| names.note(user, name);
        let page = match wire_status::users_named(body, note) {
            Ok(page) => page,
            Err(error) => {
                let message = format!("the registry of users cannot be read: {error}");
                self.notice(Level::Warn, "registry", message);
                self.registry_failed(now);
                return;
            }
        };
        match self.registry.page(page) {
            Progress::NextPage(page) => {
                let priority = self.registry_priority();
                let request = ApiRequest::Users { page };
                if self.admit(priority, 1, now.mono) {
                    self.send(Task::Registry, request, priority, effects);
                } else {
                    self.repeats
                        .push((now.mono, Flight::new(Task::Registry, request, priority)));
                }
            }
            Progress::Inconsistent => {
                let message = "the pages of the registry contradict each other".to_owned();
                self.notice(Level::Warn, "registry", message);
                self.registry_loading = false;
            }
            Progress::Complete(change) => {
                self.registry_loading = false;
                self.on_registry_change(change, now);
            }
        }
    }

    pub(super) fn on_registry_change(&mut self, change: RegistryChange, now: Now) {
        match change {
            RegistryChange::Replaced { joined, left } => {
                for user in &left {
                    self.delta.forget(user);
                }
                self.names.listed(&left);
                if !joined.is_empty() || !left.is_empty() {
                    self.registry_changed = true;
                    let message = format!(
                        "the registry has {} active users ({} joined, {} left)",
                        self.registry.len(),
                        joined.len(),
                        left.len()
                    );
                    self.notice(Level::Info, "registry", message);
                }
                self.reconciler.on_registry(&joined, &left);
                if let Some(push) = self
                    .push
                    .as_mut()
                    .filter(|_| !joined.is_empty() || !left.is_empty())
                {
                    push.roster_changed();
                }
                self.touch(now);
            }
            RegistryChange::Suspected { users } => {
                let message = format!(
                    "the registry fell from {} to {users} users; kept until a second answer agrees",
                    self.registry.len()
                );
                self.notice(Level::Warn, "registry", message);
            }
            RegistryChange::Empty => {
                let message = "the registry answered no active user; the last one is kept; check \
                               that the OAuth client's role may see users"
                    .to_owned();
                self.notice(Level::Warn, "registry", message);
            }
        }
    }

    pub(super) fn registry_failed(&mut self, now: Now) {
        self.registry.abandon();
        self.registry_loading = false;
        self.touch(now);
    }

    pub(super) fn plan_directory(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let priority = if self.directory.complete {
            Priority::Upkeep
        } else {
            Priority::Changed
        };
        if self.directory.due.is_some_and(|due| due <= now.mono)
            && self.admit(priority, 1, now.mono)
        {
            self.directory.due = None;
            self.directory.listing = Some((Listing::new(), Vec::new()));
            let request = ApiRequest::Queues { page: 1 };
            self.send(Task::Queues, request, priority, effects);
        }
        while self.directory.loading.len() < MEMBERS_AT_ONCE {
            let Some(queue) = self.directory.to_load.front().cloned() else {
                break;
            };
            if !self.admit(priority, 1, now.mono) {
                break;
            }
            self.directory.to_load.pop_front();
            self.directory
                .loading
                .insert(queue.clone(), (Listing::new(), BTreeSet::new()));
            let request = ApiRequest::QueueMembers { queue, page: 1 };
            self.send(Task::Members, request, priority, effects);
        }
    }

    pub(super) fn on_queues_page(&mut self, body: &[u8], now: Now, effects: &mut Vec<Effect>) {
        let Some((mut listing, mut queues)) = self.directory.listing.take() else {
            return;
        };
        let Ok(page) = wire_status::queues(body) else {
            let message = "the list of queues cannot be read; the last one is kept".to_owned();
            self.notice(Level::Warn, "queues", message);
            self.queues_failed(now);
            return;
        };
        queues.extend(page.queues);
        match listing.page(&page.paging) {
            Step::Next(page) => {
                self.directory.listing = Some((listing, queues));
                self.next_page(Task::Queues, ApiRequest::Queues { page }, now, effects);
            }
            Step::Inconsistent => self.queues_failed(now),
            Step::End => {
                let at = self.platform_now(now);
                let before = self.reconciler.directory().left_out();
                self.reconciler.on_queues(queues, at);
                self.told_left_out(before);
                if let Some(push) = &mut self.push {
                    push.roster_changed();
                }
                self.directory.to_load = self
                    .reconciler
                    .directory()
                    .queues()
                    .keys()
                    .cloned()
                    .collect();
                self.directory_step(now);
                self.touch(now);
            }
        }
    }

    /// Once for as long as it is so.
    fn told_left_out(&mut self, before: usize) {
        let left_out = self.reconciler.directory().left_out();
        if before == 0 && left_out > 0 {
            let message = format!(
                "there are more than {} queues; {left_out} have no series of their own, see queues.max",
                self.config.queues_max
            );
            self.notice(Level::Warn, "queues", message);
        }
    }

    pub(super) fn queues_failed(&mut self, now: Now) {
        self.directory.listing = None;
        self.directory.due = Some(now.mono + QUEUES_RETRY.min(self.config.queues_refresh));
    }

    pub(super) fn on_members_page(
        &mut self,
        request: &ApiRequest,
        body: &[u8],
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let ApiRequest::QueueMembers { queue, .. } = request else {
            return;
        };
        let Some((mut listing, mut members)) = self.directory.loading.remove(queue) else {
            return;
        };
        let Ok(page) = wire_status::members(body) else {
            let message = "the members of a queue cannot be read; the last ones are kept";
            self.notice(Level::Warn, "members", message.to_owned());
            self.directory_step(now);
            return;
        };
        let held = self.registry.ids();
        members.extend(page.members.into_iter().map(|user| user.as_in(held)));
        match listing.page(&page.paging) {
            Step::Next(page) => {
                let queue = queue.clone();
                self.directory
                    .loading
                    .insert(queue.clone(), (listing, members));
                let request = ApiRequest::QueueMembers { queue, page };
                self.next_page(Task::Members, request, now, effects);
            }
            Step::Inconsistent => self.directory_step(now),
            Step::End => {
                let at = self.platform_now(now);
                self.reconciler.on_members(queue, members, at);
                self.directory_step(now);
                self.touch(now);
            }
        }
    }

    pub(super) fn members_failed(&mut self, request: &ApiRequest, now: Now) {
        if let ApiRequest::QueueMembers { queue, .. } = request {
            self.directory.loading.remove(queue);
        }
        self.directory_step(now);
    }

    /// Ends the load when nothing of it is left.
    fn directory_step(&mut self, now: Now) {
        if self.directory.to_load.is_empty()
            && self.directory.loading.is_empty()
            && self.directory.listing.is_none()
        {
            self.directory.complete = true;
            let again = std::mem::take(&mut self.directory.again);
            let wait = if again {
                Millis::ZERO
            } else {
                self.config.queues_refresh
            };
            self.directory.due = Some(now.mono + wait);
        }
    }

    fn next_page(&mut self, task: Task, request: ApiRequest, now: Now, effects: &mut Vec<Effect>) {
        let priority = if self.directory.complete {
            Priority::Upkeep
        } else {
            Priority::Changed
        };
        if self.admit(priority, 1, now.mono) {
            self.send(task, request, priority, effects);
        } else {
            self.repeats
                .push((now.mono, Flight::new(task, request, priority)));
        }
    }
}
