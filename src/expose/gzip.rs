//! Compression in parts: what scrapes have in common is compressed once and kept, the few lines that
//! differ from scrape to scrape are stored as they are, and all are joined into one gzip member. Pure.
//!
//! One member and not several, which RFC 1952 allows, because several clients stop reading after the
//! first.

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

    /// Stores the part that ends the stream: for some lines, setting up a compressor takes longer
    /// than all else of a scrape.
    pub(super) fn last(data: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(data.len() + STORED_HEAD_BYTES);
        let mut blocks = data.chunks(STORED_BYTES_MAX).peekable();
        if data.is_empty() {
            stored(&[], true, &mut bytes);
        }
        while let Some(block) = blocks.next() {
            stored(block, blocks.peek().is_none(), &mut bytes);
        }
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

/// RFC 1951, 3.2.4: a stored block says its length in 16 bits, twice.
const STORED_BYTES_MAX: usize = u16::MAX as usize;
const STORED_HEAD_BYTES: usize = 5;

/// A block of the stream that is not compressed, beginning on a byte boundary.
fn stored(data: &[u8], last: bool, out: &mut Vec<u8>) {
    let length = u16::try_from(data.len()).expect("cut to size");
    out.push(u8::from(last));
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(data);
}

const INFALLIBLE: &str = "writing to memory cannot fail";

fn encoder(data: &[u8]) -> DeflateEncoder<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(data).expect(INFALLIBLE);
    encoder
}

/// One gzip member of parts, of which the last alone is made by [`Part::last`].
pub(super) fn member(parts: &[&Part]) -> Vec<Bytes> {
    let mut checksum = Hasher::new();
    let mut pieces = vec![Bytes::from_static(&HEADER)];
    for part in parts {
        checksum.combine(&part.checksum);
        pieces.push(part.bytes.clone());
    }
    let mut trailer = Vec::with_capacity(8);
    // RFC 1952: the length modulo 2^32.
    let length = checksum.total_len() as u32;
    trailer.extend_from_slice(&checksum.finalize().to_le_bytes());
    trailer.extend_from_slice(&length.to_le_bytes());
    pieces.push(trailer.into());
    pieces
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn joined(inner: &[u8], last: &[u8]) -> Vec<u8> {
        let (inner, last) = (Part::inner(inner), Part::last(last));
        let whole = member(&[&inner, &inner, &last]).concat();
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
            let whole = [inner, inner, last].concat().into_bytes();
            assert_eq!(joined(inner.as_bytes(), last.as_bytes()), whole);
        }
    }
}
