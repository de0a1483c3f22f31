//! Length-prefixed frames in a stream of bytes.

use bytes::{Buf, Bytes, BytesMut};

const PREFIX: usize = 4;

/// A frame is longer than its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {found} bytes, above the bound of {bound}")]
pub(crate) struct TooLong {
    found: usize,
    bound: usize,
}

/// Appends a frame.
pub(crate) fn push(target: &mut Vec<u8>, frame: &[u8]) {
    // Frames are bounded far below 4 GiB before they get here; a longer one would be refused by its receiver.
    target.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
    target.extend_from_slice(frame);
}

/// Takes frames out of chunks as they arrive; holds at most one frame and one chunk.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    bound: usize,
}

impl Frames {
    pub(crate) fn new(bound: usize) -> Self {
        Self { buffer: BytesMut::new(), bound }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let found = u32::from_le_bytes(*prefix) as usize;
        if found > self.bound {
            return Err(TooLong { found, bound: self.bound });
        }
        if self.buffer.len() < PREFIX + found {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(found).freeze()))
    }

    /// What follows the last frame.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        for frame in [&b"one"[..], b"", b"three"] {
            push(&mut bytes, frame);
        }
        for size in 1..bytes.len() {
            let mut frames = Frames::new(10);
            let mut found = Vec::new();
            for chunk in bytes.chunks(size) {
                frames.feed(chunk);
                while let Some(frame) = frames.next().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, vec!["one", "", "three"]);
        }
    }

    #[test]
    fn a_frame_above_the_bound_is_refused_before_it_arrives() {
        let mut frames = Frames::new(10);
        frames.feed(&11_u32.to_le_bytes());
        assert_eq!(frames.next(), Err(TooLong { found: 11, bound: 10 }));
    }
}
