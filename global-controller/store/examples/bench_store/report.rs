//! Results: medians, the table, and the JSON.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::side::Mode;

/// One line of the JSON; its shape is a contract with whoever compares runs.
#[derive(Serialize, Deserialize)]
struct Line {
    measure: String,
    mode: String,
    clients: usize,
    ours: f64,
    etcd: f64,
    ratio: f64,
}

struct Row {
    measure: &'static str,
    mode: Mode,
    clients: usize,
    pairs: Vec<(f64, f64)>,
}

/// All results so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Adds one pair to a measure.
    pub fn add(&mut self, measure: &'static str, mode: Mode, clients: usize, ours: f64, etcd: f64) {
        let found = self.rows.iter_mut().find(|row| (row.measure, row.mode, row.clients) == (measure, mode, clients));
        match found {
            Some(row) => row.pairs.push((ours, etcd)),
            None => self.rows.push(Row { measure, mode, clients, pairs: vec![(ours, etcd)] }),
        }
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: String) {
        println!("  {note}");
        self.notes.push(note);
    }

    fn lines(&self) -> Vec<Line> {
        let line = |row: &Row| {
            let ratio = |(ours, etcd): &(f64, f64)| if *etcd == 0.0 { 0.0 } else { ours / etcd };
            Line {
                measure: row.measure.to_owned(),
                mode: row.mode.name().to_owned(),
                clients: row.clients,
                ours: rounded(median(row.pairs.iter().map(|pair| pair.0).collect())),
                etcd: rounded(median(row.pairs.iter().map(|pair| pair.1).collect())),
                ratio: rounded(median(row.pairs.iter().map(ratio).collect())),
            }
        };
        self.rows.iter().map(line).collect()
    }

    /// Prints the table and puts its lines in place of those that the JSON has of the same measures.
    pub fn replace(&self, out: &Path) -> Result<()> {
        let text = std::fs::read(out).with_context(|| format!("failed to read '{}'", out.display()))?;
        let mut lines: Vec<Line> = serde_json::from_slice(&text)?;
        for new in self.print() {
            let same =
                |old: &&mut Line| (&old.measure, &old.mode, old.clients) == (&new.measure, &new.mode, new.clients);
            match lines.iter_mut().find(same) {
                Some(old) => *old = new,
                None => lines.push(new),
            }
        }
        write(&lines, out)
    }

    /// Prints the table and writes the JSON.
    pub fn finish(&self, out: &Path) -> Result<()> {
        write(&self.print(), out)
    }

    fn print(&self) -> Vec<Line> {
        println!();
        println!(
            "{:<24} {:<11} {:>9} {:>14} {:>14} {:>8} {:>6}",
            "measure", "mode", "clients", "ours", "etcd", "ratio", "pairs"
        );
        let lines = self.lines();
        for (line, row) in lines.iter().zip(&self.rows) {
            println!(
                "{:<24} {:<11} {:>9} {:>14.3} {:>14.3} {:>8.3} {:>6}",
                line.measure,
                line.mode,
                line.clients,
                line.ours,
                line.etcd,
                line.ratio,
                row.pairs.len()
            );
        }
        println!();
        for note in &self.notes {
            println!("{note}");
        }
        lines
    }
}

fn write(lines: &[Line], out: &Path) -> Result<()> {
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut json = serde_json::to_string_pretty(lines)?;
    json.push('\n');
    std::fs::write(out, json).with_context(|| format!("failed to write '{}'", out.display()))?;
    println!("written to {}", out.display());
    Ok(())
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), middle.checked_sub(1).and_then(|below| values.get(below))) {
        (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => f64::midpoint(*upper, *lower),
        (Some(upper), _) => *upper,
        (None, _) => 0.0,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
