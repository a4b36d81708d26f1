//! Compression in parts: the view's part of a page is compressed once, the rest per scrape, and
//! both are joined into one gzip member. Pure.
//!
//! One member and not two, because several clients stop reading after the first.

use std::io::Write as _;

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// RFC 1952: magic, deflate, no flags, no time, fastest, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Level 1: of an 11 MB page it makes 1.5 MB in 23 ms, level 6 takes 154 ms (conventions.md §1.7).
const LEVEL: u32 = 1;

/// A part of a deflate stream, ending on a byte boundary, that refers to nothing before it.
#[derive(Debug, Clone)]
pub(super) struct Part {
    bytes: Bytes,
    checksum: Hasher,
}

impl Part {
    /// Compresses a part that others follow.
    pub(super) fn inner(data: &[u8]) -> Self {
        let mut encoder = encoder(data);
        encoder.flush().expect(INFALLIBLE);
        let bytes = std::mem::take(encoder.get_mut());
        Self::with(bytes, data)
    }

    /// Compresses the part that ends the stream.
    pub(super) fn last(data: &[u8]) -> Self {
        let bytes = encoder(data).finish().expect(INFALLIBLE);
        Self::with(bytes, data)
    }

    fn with(bytes: Vec<u8>, data: &[u8]) -> Self {
        let mut checksum = Hasher::new();
        checksum.update(data);
        Self {
            bytes: bytes.into(),
            checksum,
        }
    }
}

const INFALLIBLE: &str = "writing to memory cannot fail";

fn encoder(data: &[u8]) -> DeflateEncoder<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(data).expect(INFALLIBLE);
    encoder
}

/// One gzip member: the inner part, then the last.
pub(super) fn member(inner: &Part, last: &Part) -> Vec<Bytes> {
    let mut checksum = inner.checksum.clone();
    checksum.combine(&last.checksum);
    let mut trailer = Vec::with_capacity(8);
    // RFC 1952: the length modulo 2^32.
    let length = checksum.total_len() as u32;
    trailer.extend_from_slice(&checksum.finalize().to_le_bytes());
    trailer.extend_from_slice(&length.to_le_bytes());
    vec![
        Bytes::from_static(&HEADER),
        inner.bytes.clone(),
        last.bytes.clone(),
        trailer.into(),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn joined(inner: &[u8], last: &[u8]) -> Vec<u8> {
        let parts = member(&Part::inner(inner), &Part::last(last));
        let whole = parts.concat();
        let mut out = Vec::new();
        // `GzDecoder` reads one member and checks length and checksum.
        GzDecoder::new(&whole[..]).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn parts_join_into_one_member() {
        let long = "genesyscloud_agents{state=\"available\"} 5\n".repeat(5_000);
        for (inner, last) in [
            (long.as_str(), "# EOF\n"),
            (long.as_str(), long.as_str()),
            ("", "tail"),
            ("head", ""),
            ("", ""),
        ] {
            let whole = [inner.as_bytes(), last.as_bytes()].concat();
            assert_eq!(joined(inner.as_bytes(), last.as_bytes()), whole);
        }
    }
}
