//! Bytes of a statistic's state: magic, checksum, then numbers little-endian, in a fixed order.

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"TIDLQSTA";
const HEADER_BYTES: usize = MAGIC.len() + 8;

/// Writes a state.
pub(super) struct StateWriter {
    bytes: Vec<u8>,
}

impl StateWriter {
    /// Begins the state of a kind of statistic; `kind` changes when its layout does.
    pub fn new(kind: u32) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        Self { bytes }
    }

    pub fn number(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// A list, its length first.
    pub fn list<const N: usize>(&mut self, values: impl ExactSizeIterator<Item = [u8; N]>) {
        self.number(values.len() as u64);
        self.bytes.extend(values.flatten());
    }

    pub fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.bytes[MAGIC.len() + 4..]);
        self.bytes[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Reads what a [`StateWriter`] has written; anything else is an error.
pub(super) struct StateReader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> StateReader<'a> {
    /// Checks the header; `what` names the kind in errors.
    pub fn new(what: &'static str, kind: u32, bytes: &'a [u8]) -> Result<Self> {
        let fault = |reason| Err(Error::State { what, reason });
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return fault("it is too short");
        };
        if !header.starts_with(MAGIC) {
            return fault("it does not begin with \"TIDLQSTA\"");
        }
        let [.., a, b, c, d, _, _, _, _] = *header;
        if u32::from_le_bytes([a, b, c, d]) != crc32fast::hash(&bytes[MAGIC.len() + 4..]) {
            return fault("its checksum is wrong");
        }
        if !header.ends_with(&kind.to_le_bytes()) {
            return fault("it is of another statistic or version");
        }
        Ok(Self { what, rest })
    }

    /// An error about the state that is read.
    pub fn fault(&self, reason: &'static str) -> Error {
        Error::State { what: self.what, reason }
    }

    pub fn number(&mut self) -> Result<u64> {
        let Some((number, rest)) = self.rest.split_first_chunk() else {
            return Err(self.fault("it ends early"));
        };
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    /// A number that counts or measures something in memory.
    pub fn size(&mut self) -> Result<usize> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| self.fault("a size is too large"))
    }

    /// A list of exactly `length` entries.
    pub fn list<const N: usize, T>(
        &mut self,
        length: usize,
        decode: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let (found, bytes) = (self.size()?, length.checked_mul(N));
        let Some((list, rest)) = bytes.and_then(|bytes| self.rest.split_at_checked(bytes)) else {
            return Err(self.fault("it ends early"));
        };
        if found != length {
            return Err(self.fault("a list has the wrong length"));
        }
        self.rest = rest;
        Ok(list.as_chunks().0.iter().map(|&entry| decode(entry)).collect())
    }

    /// Nothing is left.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault("it is too long")) }
    }
}
