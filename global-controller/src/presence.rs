//! Who is heard. Heartbeats live in memory and cost no write; only a *change* of reachability is written down.

mod forward;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollout_core::Reachability;
use tokio::time::Instant;

pub(crate) use forward::{Ages, MAX_HEARTBEATS, run as forward};
pub(crate) use judge::run as judge;

/// A member is silent after this long without a heartbeat (SEMANTICS 38); three heartbeats fit.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(15);
/// A new leader calls nobody silent before this much of its term: agents have to find it first.
const GRACE: Duration = Duration::from_secs(45);

/// When each member was last heard.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Since when this replica leads.
    leading_since: Option<Instant>,
    heard: BTreeMap<String, Instant>,
    /// (when it turns silent, member) of those that are not.
    expiry: BTreeSet<(Instant, String)>,
    /// Heard since they were last forwarded to the leader.
    fresh: BTreeSet<String>,
}

impl Presence {
    /// This replica leads from now on: what it heard of before counts, and nobody is silent yet.
    pub fn begin_term(&mut self, now: Instant) {
        self.leading_since = Some(now);
    }

    /// This replica leads no longer.
    pub fn end_term(&mut self) {
        self.leading_since = None;
    }

    /// A heartbeat, perhaps brought by another replica; an older one than known says nothing. True if the member was
    /// silent before, or never heard.
    pub fn hear(&mut self, member: &str, at: Instant, now: Instant) -> bool {
        let before = self.heard.get(member).copied();
        if before.is_some_and(|before| before >= at) {
            return false;
        }
        if let Some(before) = before {
            self.expiry.remove(&(before + SILENT_AFTER, member.to_owned()));
        }
        self.heard.insert(member.to_owned(), at);
        self.expiry.insert((at + SILENT_AFTER, member.to_owned()));
        before.is_none_or(|before| now.duration_since(before) >= SILENT_AFTER)
    }

    /// As [`Self::hear`], from an agent that speaks to this replica.
    pub fn hear_here(&mut self, member: &str, now: Instant) -> bool {
        self.fresh.insert(member.to_owned());
        self.hear(member, now, now)
    }

    /// Members heard since the last call, and how long ago.
    pub fn take_fresh(&mut self, now: Instant) -> Vec<(String, Duration)> {
        let fresh = std::mem::take(&mut self.fresh);
        fresh.into_iter().filter_map(|member| Some((member.clone(), self.age(&member, now)?))).collect()
    }

    /// How long ago a member was heard.
    pub fn age(&self, member: &str, now: Instant) -> Option<Duration> {
        self.heard.get(member).map(|heard| now.saturating_duration_since(*heard))
    }

    /// How long ago each member was heard.
    pub fn ages(&self, now: Instant) -> impl Iterator<Item = (&String, Duration)> {
        self.heard.iter().map(move |(member, heard)| (member, now.saturating_duration_since(*heard)))
    }

    /// Members that have turned silent since the last call.
    pub fn take_expired(&mut self, now: Instant) -> Vec<String> {
        let mut expired = Vec::new();
        while self.expiry.first().is_some_and(|(at, _)| *at <= now) {
            expired.extend(self.expiry.pop_first().map(|(_, member)| member));
        }
        expired
    }

    /// Whether a member is heard, by this replica's judgement; `None` when it doesn't lead.
    pub fn reachability(&self, member: &str, now: Instant) -> Option<Reachability> {
        let since = self.leading_since?;
        let heard = self.age(member, now).is_some_and(|age| age < SILENT_AFTER);
        Some(match heard {
            true => Reachability::Reachable,
            false if now.duration_since(since) < GRACE => Reachability::Unknown,
            false => Reachability::Unreachable,
        })
    }

    /// When the grace of this term ends.
    pub fn grace_until(&self) -> Option<Instant> {
        self.leading_since.map(|since| since + GRACE)
    }

    /// A member that is no longer on the hub.
    pub fn forget(&mut self, member: &str) {
        if let Some(heard) = self.heard.remove(member) {
            self.expiry.remove(&(heard + SILENT_AFTER, member.to_owned()));
        }
        self.fresh.remove(member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_38_a_new_leader_calls_nobody_unreachable_before_45_seconds_of_its_term() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut presence = Presence::default();
        assert_eq!(presence.reachability("m", start), None, "only a leader judges");
        presence.begin_term(start);
        assert_eq!(presence.reachability("m", at(44)), Some(Reachability::Unknown));
        assert_eq!(presence.reachability("m", at(45)), Some(Reachability::Unreachable));
        presence.hear("m", at(46), at(46));
        assert_eq!(presence.reachability("m", at(60)), Some(Reachability::Reachable));
        assert_eq!(presence.reachability("m", at(61)), Some(Reachability::Unreachable));
    }

    #[test]
    fn only_the_first_heartbeat_after_silence_is_news() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut presence = Presence::default();
        assert!(presence.hear("m", at(1), at(1)));
        assert!(!presence.hear("m", at(6), at(6)));
        assert!(!presence.hear("m", at(3), at(7)), "an older one says nothing");
        assert!(presence.take_expired(at(20)).is_empty());
        assert_eq!(presence.take_expired(at(21)), ["m"]);
        assert!(presence.hear("m", at(30), at(30)));
    }

    #[test]
    fn what_was_forwarded_is_forwarded_once() {
        let start = Instant::now();
        let mut presence = Presence::default();
        presence.hear_here("m", start);
        assert_eq!(presence.take_fresh(start + Duration::from_secs(1)), [("m".to_owned(), Duration::from_secs(1))]);
        assert!(presence.take_fresh(start).is_empty());
    }
}
