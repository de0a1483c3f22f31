//! Cuts a byte stream into lines of bounded length. Pure.

/// Longest line. An assignment is at most 256 KiB; the rest is room to grow.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A line is longer than [`MAX_LINE_BYTES`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line has more than {MAX_LINE_BYTES} bytes")]
pub struct TooLong;

/// What has come of the next line.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Adds bytes; returns the lines that they complete, without their ends. Empty lines are left out.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.rest);
            if !line.trim_ascii().is_empty() {
                lines.push(line);
            }
        }
        self.keep(bytes)?;
        Ok(lines)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.rest.len() + bytes.len() > MAX_LINE_BYTES {
            return Err(TooLong);
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let text = b"one\n\ntwo\r\nthr";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut all = lines.push(&text[..cut]).unwrap();
            all.extend(lines.push(&text[cut..]).unwrap());
            assert_eq!(all, [b"one".to_vec(), b"two\r".to_vec()]);
            assert_eq!(lines.push(b"ee\n").unwrap(), [b"three".to_vec()]);
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept_for_ever() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE_BYTES]).unwrap();
        assert_eq!(lines.push(b"x"), Err(TooLong));
    }
}
