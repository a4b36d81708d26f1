//! Jitter and phases from a hash: the same input gives the same instant in every run, so that a
//! seed reproduces a failure. No generator, no state.

/// FNV-1a, 64 bits: short, well known, and the same in every version and on every machine,
/// which the standard library's hasher does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

/// A value in `0..=max` that looks random to everything but its seed; 0 if `max` is not positive.
///
/// FNV-1a leaves short inputs alike in their high bits, so the finaliser of `SplitMix64` follows.
pub(crate) fn up_to(seed: u64, max: i64) -> i64 {
    let Ok(max) = u64::try_from(max) else {
        return 0;
    };
    let mut mixed = fnv1a(&seed.to_le_bytes());
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed % (max + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_the_published_values() {
        // Test vectors of the algorithm's authors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn jitter_stays_in_range_and_reaches_both_halves() {
        let drawn: Vec<i64> = (0..1_000).map(|seed| up_to(seed, 99)).collect();
        assert!(drawn.iter().all(|value| (0..=99).contains(value)));
        let low = drawn.iter().filter(|value| **value < 50).count();
        assert!(
            (400..=600).contains(&low),
            "{low} of 1000 in the lower half"
        );
        assert_eq!(up_to(7, 0), 0);
        assert_eq!(up_to(7, -5), 0);
    }
}
