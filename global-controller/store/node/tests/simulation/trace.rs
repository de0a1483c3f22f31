//! What happened: a hash of everything for comparing runs, and on demand the last lines in words.

use std::collections::VecDeque;
use std::fmt::Write;

/// Lines kept for the report of a failure.
const LINES: usize = 80;

pub struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// `worded`: also keep the last lines, which costs more than the run itself.
    pub fn new(worded: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: worded.then(VecDeque::new) }
    }

    /// FNV-1a over the numbers; the words are only made when somebody will read them.
    pub fn note(&mut self, now: u64, numbers: [u64; 4], words: impl FnOnce() -> String) {
        for number in [now].into_iter().chain(numbers) {
            for byte in number.to_le_bytes() {
                self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(format!("{:>10} us  {}", now, words()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.iter().flatten() {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
