//! What went in and out of a run, as text and as one number.

use std::fmt::Write as _;

use genesys_cloud_exporter::effect::Effect;

use super::world::World;

impl World<'_> {
    /// An effect into the digest, and into the log if there is one.
    pub(super) fn write(&mut self, effect: &Effect) {
        let line = match effect {
            Effect::Request { id, request, .. } => format!("> {} {request:?}", id.0),
            Effect::Append(append) => format!("+ {} {:?}", append.sequence, append.records),
            other if self.log.is_some() => format!("{other:?}"),
            _ => return,
        };
        self.digest(&line);
    }

    /// FNV-1a, so that two machines can compare a run by one number.
    pub(super) fn digest(&mut self, line: &str) {
        let at = self.now.to_le_bytes();
        for byte in at.iter().chain(line.as_bytes()) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(log) = &mut self.log {
            writeln!(log, "{} {line}", self.now).expect("a string takes any text");
        }
    }
}
