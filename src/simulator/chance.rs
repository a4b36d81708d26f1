//! Chance as a hash: the same inputs always fall the same way, whatever was asked before.
//!
//! Used where a generator's order would leak into results (faults, cosmetic fields). Timelines
//! use a seeded generator of their own (`behaviour`). Not for secrets.

/// Mixes the inputs into 64 even bits (the finaliser of `SplitMix64`, Steele et al. 2014).
pub fn mix(inputs: &[u64]) -> u64 {
    inputs.iter().fold(0x9E37_79B9_7F4A_7C15, |state, &input| {
        let mut z = state
            .wrapping_add(input)
            .wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// True for `percent` of all inputs: never for 0, always for 100.
pub fn strikes(percent: u32, inputs: &[u64]) -> bool {
    mix(inputs) % 100 < u64::from(percent)
}

/// 128 bits of the inputs in the shape of a UUID (version 4 by its marks).
pub fn uuid(inputs: &[u64]) -> String {
    let head = mix(inputs);
    let tail = mix(&[head, 1]);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:x}{:03x}-{:012x}",
        head >> 32,
        (head >> 16) & 0xffff,
        head & 0xfff,
        8 + ((tail >> 60) & 0x3),
        (tail >> 48) & 0xfff,
        tail & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_hold_at_both_ends_and_roughly_between() {
        let hits = |percent| (0..10_000).filter(|&n| strikes(percent, &[7, n])).count();
        assert_eq!(hits(0), 0);
        assert_eq!(hits(100), 10_000);
        assert!((2_700..3_300).contains(&hits(30)), "{}", hits(30));
    }

    #[test]
    fn a_uuid_has_its_shape_and_repeats_itself() {
        let id = uuid(&[42, 1]);
        assert_eq!(id, uuid(&[42, 1]));
        assert_ne!(id, uuid(&[42, 2]));
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(id[14..].starts_with('4'));
    }
}
