//! Checksums over our own rows: CRC-32/IEEE (the one of gzip and Ethernet).
//!
//! SQLite's own checks do not see a flipped bit inside a row's text; this does. It finds
//! accidents, not attackers.

/// Over some bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Over the columns of a row: each with its kind and length, so that no two rows read alike. They are
/// put together first, because the sum of one long piece costs far less than that of many short ones.
#[derive(Debug, Clone)]
pub struct Checksum(Vec<u8>);

/// Most rows are shorter.
const ROW_BYTES: usize = 512;

impl Default for Checksum {
    fn default() -> Self {
        Self(Vec::with_capacity(ROW_BYTES))
    }
}

impl Checksum {
    /// Of no column yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text column.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// Adds a text column by its bytes, which damage may have left invalid.
    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.0.push(b't');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }

    /// Adds a text column that may be null.
    #[must_use]
    pub fn optional_text(mut self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(value),
            None => {
                self.0.push(b'n');
                self
            }
        }
    }

    /// Adds an integer column.
    #[must_use]
    pub fn integer(mut self, value: i64) -> Self {
        self.0.push(b'i');
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// The checksum.
    pub fn finish(self) -> u32 {
        crc32(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32_ieee() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn columns_do_not_run_into_each_other() {
        let split = |a, b| Checksum::new().text(a).text(b).finish();
        assert_ne!(split("ab", "c"), split("a", "bc"));
        let null = Checksum::new().optional_text(None).finish();
        assert_ne!(null, Checksum::new().optional_text(Some("")).finish());
        assert_ne!(
            Checksum::new().integer(1).finish(),
            Checksum::new().integer(256).finish()
        );
    }
}
