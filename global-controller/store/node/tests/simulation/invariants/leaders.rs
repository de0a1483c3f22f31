//! At most one leader per term.

use std::collections::BTreeMap;

use super::Check;

#[derive(Default)]
pub struct Leaders {
    by_term: BTreeMap<u64, u64>,
}

impl Leaders {
    pub fn check(&mut self, replica: u64, term: u64) -> Check {
        let first = *self.by_term.entry(term).or_insert(replica);
        if first == replica { Ok(()) } else { Err(format!("replicas {first} and {replica} both lead term {term}")) }
    }
}
