//! Listings that are complete, cut, empty or suspicious, and when to ask for the next.

use proptest::prelude::*;

use super::*;
use crate::upstream::wire::Paging;

const REFRESH: Millis = Millis::from_secs(600);

fn at(seconds: i64) -> Monotonic {
    Monotonic(seconds * 1_000)
}

fn ids(range: std::ops::Range<u32>) -> Vec<UserId> {
    range
        .map(|n| UserId::new(&format!("agent-{n:04}")))
        .collect()
}

fn page(users: Vec<UserId>, total: Option<u64>, has_next: bool) -> UsersPage {
    UsersPage {
        paging: Paging {
            total,
            page_count: None,
            has_next,
            rows: users.len(),
        },
        users,
    }
}

/// One refresh that is answered with a single page.
fn listed(registry: &mut Registry, range: std::ops::Range<u32>, now: Monotonic) -> Progress {
    registry.begin(now);
    let total = Some(range.len() as u64);
    registry.page(page(ids(range), total, false))
}

fn replaced(joined: std::ops::Range<u32>, left: std::ops::Range<u32>) -> Progress {
    Progress::Complete(RegistryChange::Replaced {
        joined: ids(joined),
        left: ids(left),
    })
}

fn known(size: u32) -> Registry {
    let mut registry = Registry::new(REFRESH);
    assert_eq!(
        listed(&mut registry, 0..size, at(0)),
        replaced(0..size, 0..0)
    );
    registry
}

#[test]
fn pages_make_one_registry() {
    let mut registry = Registry::new(REFRESH);
    assert!(registry.due(at(0)));
    assert!(!registry.is_known());
    registry.begin(at(0));
    assert!(!registry.due(at(0)), "one at a time");
    let first = registry.page(page(ids(0..500), Some(700), true));
    assert_eq!(first, Progress::NextPage(2));
    assert!(registry.is_empty(), "nothing half applied");
    let last = registry.page(page(ids(500..700), Some(700), false));
    assert_eq!(last, replaced(0..700, 0..0));
    assert_eq!(registry.len(), 700);
    assert_eq!(registry.next_due(), Some(at(600)));
    let changed = listed(&mut registry, 5..705, at(600));
    assert_eq!(changed, replaced(700..705, 0..5));
}

#[test]
fn pages_that_do_not_add_up_leave_the_last_good_registry() {
    let mut registry = known(100);
    // Cut short.
    registry.begin(at(600));
    let cut = registry.page(page(ids(0..60), Some(100), false));
    assert_eq!(cut, Progress::Inconsistent);
    assert_eq!(registry.next_due(), Some(at(660)));
    // The total changes.
    registry.begin(at(660));
    registry.page(page(ids(0..50), Some(100), true));
    let grown = registry.page(page(ids(50..101), Some(101), false));
    assert_eq!(grown, Progress::Inconsistent);
    // One row moved to the next page and hides another.
    registry.begin(at(720));
    registry.page(page(ids(0..50), Some(100), true));
    let moved = registry.page(page(ids(49..99), Some(100), false));
    assert_eq!(moved, Progress::Inconsistent);
    // A page that nobody asked for.
    assert_eq!(
        registry.page(page(ids(0..1), None, false)),
        Progress::Inconsistent
    );
    assert_eq!(registry.len(), 100);
    assert_eq!(registry.next_due(), Some(at(780)));
}

#[test]
fn a_row_that_cannot_be_read_does_not_spoil_the_rest() {
    let mut registry = Registry::new(REFRESH);
    registry.begin(at(0));
    let mut users = page(ids(0..9), Some(10), false);
    users.paging.rows = 10;
    assert_eq!(registry.page(users), replaced(0..9, 0..0));
}

#[test]
fn an_empty_listing_is_refused() {
    let mut registry = known(10);
    let empty = listed(&mut registry, 0..0, at(600));
    assert_eq!(empty, Progress::Complete(RegistryChange::Empty));
    assert_eq!(registry.len(), 10);
    assert_eq!(registry.next_due(), Some(at(660)));
    let mut unknown = Registry::new(REFRESH);
    let empty = listed(&mut unknown, 0..0, at(0));
    assert_eq!(empty, Progress::Complete(RegistryChange::Empty));
    assert!(!unknown.is_known());
    assert_eq!(
        unknown.next_due(),
        Some(at(10)),
        "sooner while nothing is known"
    );
}

#[test]
fn a_loss_of_more_than_half_waits_for_a_second_answer() {
    let suspected = |users| Progress::Complete(RegistryChange::Suspected { users });
    let mut registry = known(100);
    // Exactly half is believed.
    let mut half = registry.clone();
    assert_eq!(listed(&mut half, 0..50, at(600)), replaced(0..0, 50..100));
    // One fewer is not, until a second answer agrees.
    assert_eq!(listed(&mut registry, 0..49, at(600)), suspected(49));
    assert_eq!(registry.len(), 100);
    let mut recovered = registry.clone();
    assert_eq!(
        listed(&mut registry, 0..49, at(1_200)),
        replaced(0..0, 49..100)
    );
    // A whole answer between ends the suspicion.
    assert_eq!(
        listed(&mut recovered, 0..100, at(1_200)),
        replaced(0..0, 0..0)
    );
    assert_eq!(listed(&mut recovered, 0..49, at(1_800)), suspected(49));
    // A different small answer does not confirm it.
    assert_eq!(listed(&mut recovered, 50..99, at(2_400)), suspected(49));
    assert_eq!(
        listed(&mut recovered, 50..98, at(3_000)),
        replaced(0..0, 0..50).with_left(98)
    );
}

impl Progress {
    /// Adds the users from `from` to 100 to those that left.
    fn with_left(mut self, from: u32) -> Self {
        if let Self::Complete(RegistryChange::Replaced { left, .. }) = &mut self {
            left.extend(ids(from..100));
        }
        self
    }
}

#[test]
fn strangers_hasten_the_refresh_to_once_a_minute() {
    let mut registry = known(10);
    registry.request_soon(at(20));
    registry.request_soon(at(25));
    assert_eq!(registry.next_due(), Some(at(60)));
    assert!(!registry.due(at(59)) && registry.due(at(60)));
    registry.begin(at(60));
    registry.request_soon(at(61));
    assert_eq!(registry.next_due(), None);
    assert_eq!(
        registry.page(page(ids(0..10), Some(10), false)),
        replaced(0..0, 0..0)
    );
    assert_eq!(
        registry.next_due(),
        Some(at(120)),
        "it may have missed the change"
    );
    listed(&mut registry, 0..10, at(120));
    registry.request_soon(at(500));
    assert!(registry.due(at(500)));
}

#[test]
fn a_restored_registry_is_in_force_and_refreshed_at_once() {
    let mut registry = Registry::new(REFRESH);
    registry.restore(ids(0..10).into_iter().collect());
    assert!(registry.is_known());
    assert!(registry.due(Monotonic(-5)));
    assert_eq!(listed(&mut registry, 0..11, at(0)), replaced(10..11, 0..0));
}

proptest! {
    #[test]
    fn nobody_comes_or_goes_unreported(
        listings in proptest::collection::vec((0..40_u32, 0..60_u32, any::<bool>()), 1..40),
    ) {
        let mut registry = Registry::new(REFRESH);
        let mut twin = BTreeSet::new();
        let mut now = at(0);
        for (from, size, cut) in listings {
            now = registry.next_due().map_or(now, |due| due.max(now));
            registry.begin(now);
            let total = u64::from(size) + u64::from(cut);
            let progress = registry.page(page(ids(from..from + size), Some(total), false));
            if let Progress::Complete(RegistryChange::Replaced { joined, left }) = progress {
                prop_assert!(!cut && size > 0);
                for user in left {
                    prop_assert!(twin.remove(&user));
                }
                for user in joined {
                    prop_assert!(twin.insert(user));
                }
            }
            prop_assert_eq!(&twin, registry.ids());
            prop_assert!(registry.next_due().is_some_and(|due| due > now));
        }
    }
}

#[test]
fn scans_add_at_once_and_remove_after_two_complete_ones() {
    let set = |range| ids(range).into_iter().collect::<BTreeSet<_>>();
    let change = |joined, left| RegistryChange::Replaced {
        joined: ids(joined),
        left: ids(left),
    };
    let mut registry = Registry::new(REFRESH);
    registry.fed_by_scans();
    assert!(
        !registry.due(at(1_000_000)),
        "nobody lists without a reason"
    );
    assert_eq!(registry.scanned(&set(0..10), true), change(0..10, 0..0));
    assert_eq!(registry.scanned(&set(2..12), true), change(10..12, 0..0));
    assert_eq!(registry.len(), 12, "once may be an accident");
    // Rows moved between its pages: it says who is there, not who is gone.
    assert_eq!(registry.scanned(&set(1..12), false), change(0..0, 0..0));
    assert_eq!(registry.scanned(&set(2..12), true), change(0..0, 0..1));
    assert_eq!(registry.scanned(&set(2..12), true), change(0..0, 1..2));
    assert_eq!(registry.scanned(&set(0..0), true), RegistryChange::Empty);
    assert_eq!(registry.ids(), &set(2..12));
    registry.request_soon(at(5));
    assert!(registry.due(at(5)), "a rejected scan asks for a listing");
}
