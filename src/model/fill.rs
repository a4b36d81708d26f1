//! Maps that are filled with everybody at once.

use std::collections::BTreeMap;

/// Adds entries. Made of many at once, a map has no empty places; filled one by one in order, it
/// stays half empty, which for 100,000 agents is tens of megabytes.
pub fn fill<K: Ord, V>(map: &mut BTreeMap<K, V>, new: Vec<(K, V)>) {
    if new.len() > map.len() {
        map.append(&mut new.into_iter().collect());
    } else {
        map.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_added_whether_much_or_little() {
        let mut map = BTreeMap::from([(3, 'c')]);
        fill(&mut map, vec![(5, 'e'), (1, 'a'), (3, 'x')]);
        assert_eq!(map, BTreeMap::from([(1, 'a'), (3, 'x'), (5, 'e')]));
        fill(&mut map, vec![(2, 'b')]);
        assert_eq!(map.len(), 4);
        fill(&mut map, Vec::new());
        assert_eq!(map[&2], 'b');
    }
}
