//! Length-checked reading and writing of little-endian fields, shared by entries, peer messages and snapshot files.
//!
//! Reading never allocates more than the input holds: a length is compared with what is left, and with the caller's
//! bound, before anything is taken.

use bytes::{Buf, BufMut, Bytes};

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ended in the middle of a field.
    #[error("truncated input: {needed} more bytes needed for '{field}'")]
    Truncated {
        /// Name of the field that was being read.
        field: &'static str,
        /// How many bytes were missing.
        needed: usize,
    },
    /// A length or count is above its bound.
    #[error("'{field}' is {found}, above its bound of {bound}")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// The value found.
        found: usize,
        /// The highest value allowed.
        bound: usize,
    },
    /// A tag has no meaning in this version.
    #[error("'{field}' has the unknown value {found}")]
    Unknown {
        /// Name of the field.
        field: &'static str,
        /// The value found.
        found: u64,
    },
    /// A text field isn't UTF-8.
    #[error("'{field}' is not UTF-8")]
    NotText {
        /// Name of the field.
        field: &'static str,
    },
    /// Bytes were left over after the last field.
    #[error("{count} bytes left over after the last field")]
    Trailing {
        /// How many bytes were left.
        count: usize,
    },
}

/// Takes fields off the front of a buffer; slices share the buffer's memory.
#[derive(Debug, Clone)]
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn need(&self, field: &'static str, count: usize) -> Result<(), Error> {
        let missing = count.saturating_sub(self.rest.len());
        if missing > 0 { Err(Error::Truncated { field, needed: missing }) } else { Ok(()) }
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.need(field, 1)?;
        Ok(self.rest.get_u8())
    }

    /// Two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.need(field, 2)?;
        Ok(self.rest.get_u16_le())
    }

    /// Four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.need(field, 4)?;
        Ok(self.rest.get_u32_le())
    }

    /// Eight bytes.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.need(field, 8)?;
        Ok(self.rest.get_u64_le())
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, Error> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(Error::Unknown { field, found: found.into() }),
        }
    }

    /// A four-byte count of at most `bound`.
    pub fn count(&mut self, field: &'static str, bound: usize) -> Result<usize, Error> {
        let found = self.u32(field)? as usize;
        if found > bound { Err(Error::TooLong { field, found, bound }) } else { Ok(found) }
    }

    /// A length of at most `bound` and as many bytes.
    pub fn bytes(&mut self, field: &'static str, bound: usize) -> Result<Bytes, Error> {
        let length = self.count(field, bound)?;
        self.need(field, length)?;
        Ok(self.rest.split_to(length))
    }

    /// A length of at most `bound` and as many bytes of UTF-8.
    pub fn text(&mut self, field: &'static str, bound: usize) -> Result<String, Error> {
        let bytes = self.bytes(field, bound)?;
        String::from_utf8(bytes.into()).map_err(|_| Error::NotText { field })
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Trailing { count: self.rest.len() }) }
    }
}

/// Puts fields one after the other into a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.buffer.put_u8(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16_le(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32_le(value);
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.buffer.put_u64_le(value);
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self, value: bool) {
        self.buffer.put_u8(value.into());
    }

    /// A four-byte count. Counts above `u32::MAX` are cut to it, which every reader's bound then refuses.
    pub fn count(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// A length and the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.buffer.extend_from_slice(value);
    }

    /// Bytes without a length, for fields of a fixed size.
    pub fn raw(&mut self, value: &[u8]) {
        self.buffer.extend_from_slice(value);
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing has been written yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}
