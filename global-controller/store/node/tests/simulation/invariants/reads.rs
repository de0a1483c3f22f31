//! A read never goes back behind what anybody was told before it was asked for.

use super::Check;

#[derive(Default)]
pub struct Reads {
    told: u64,
}

impl Reads {
    pub fn asked(&self) -> u64 {
        self.told
    }

    pub fn acknowledged(&mut self, revision: u64) {
        self.told = self.told.max(revision);
    }

    pub fn served(&mut self, asked_at: u64, revision: u64) -> Check {
        self.told = self.told.max(revision);
        if revision >= asked_at {
            return Ok(());
        }
        Err(format!("a read saw revision {revision}, but {asked_at} was known before it was asked for"))
    }
}
