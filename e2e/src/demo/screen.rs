//! The terminal: a picture at the bottom that is redrawn, lines that scroll above it. Without a terminal, lines.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::sync::{Arc, Mutex, PoisonError};

use super::view::Colours;

/// Where the demo prints. Clones share one terminal, so that progress lines and picture don't tear each other.
#[derive(Clone, Debug)]
pub struct Screen {
    terminal: bool,
    colours: Colours,
    /// The picture that is on the screen now.
    picture: Arc<Mutex<Vec<String>>>,
}

impl Screen {
    /// The standard output. `NO_COLOR` is obeyed.
    pub fn new() -> Self {
        let terminal = stdout().is_terminal();
        let colourful = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colours = if colourful { Colours::Ansi } else { Colours::Plain };
        Self { terminal, colours, picture: Arc::default() }
    }

    /// How much colour there is.
    pub fn colours(&self) -> Colours {
        self.colours
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        let picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{}{text}\n{}", erase(picture.len()), draw(&picture));
        print(&text);
    }

    /// The picture as it is now; where there is no terminal, the changes, as lines.
    pub fn show(&self, picture: &[String], changes: &[String]) {
        if !self.terminal {
            for change in changes {
                self.line(change);
            }
            return;
        }
        let mut old = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        print(&format!("{}{}", erase(old.len()), draw(picture)));
        *old = picture.to_vec();
    }

    /// Leaves the last picture where it is.
    pub fn finish(&self) {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn draw(picture: &[String]) -> String {
    if picture.is_empty() {
        return String::new();
    }
    // A line that wraps would take two rows and leave traces: let the terminal cut it off.
    format!("\x1b[?7l{}\n\x1b[?7h", picture.join("\n"))
}

fn print(text: &str) {
    let mut out = stdout().lock();
    // A reader that went away ends nothing: the demo's result is its exit code.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
