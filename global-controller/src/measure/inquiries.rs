//! Questions to the Prometheus beside each member's agent, on their way there and back.
//!
//! ```text
//! leader: ask ──▶ unsent ──▶ stream of the member ──────────────────▶ agent ──▶ its Prometheus
//!           ▲        └─▶ answer to a follower's heartbeats ─▶ its stream ──┘            │
//!         settle ◀── POST /v1/samples, which followers hand on ◀───────────────────────┘
//! ```
//!
//! All of it is in memory and none of it matters for long: what gets lost is no answer in time, and the member is asked again at
//! the next measurement. An answer counts only for the very question that is open here, so none of another gate, of another
//! leader or of an earlier time can.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::{Finding, Found, Inquiry};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long an answer is waited for: 2 s to a follower that has the member's stream, 10 s for the Prometheus, and the way back.
pub(crate) const WITHIN: Duration = Duration::from_secs(15);
/// Questions open at once: one for each of as many members as a leader is planned for.
const MAX_OPEN: usize = 10_000;
/// Bytes of queries that one answer to a follower's heartbeats has at most; the rest comes with the next.
const MAX_HANDED_BYTES: usize = 1024 * 1024;
/// Values of one answer, as the API says.
const MAX_VALUES: usize = 1_000;

/// Why a member gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Silence {
    #[error("its agent has not said whether it has a Prometheus to ask: it may be too old for analysis.from: Member")]
    Unknown,
    #[error("its agent has no --prometheus-url")]
    Unconfigured,
    #[error("its agent gave no answer within {} s", WITHIN.as_secs())]
    Late,
    #[error("too many questions to agents at a time")]
    Full,
}

/// On their way.
#[derive(Debug, Default)]
pub(crate) struct Inquiries {
    made: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that somebody here waits for.
    open: BTreeMap<String, Open>,
    /// Member to what is to be sent to it, and until when that is of use.
    unsent: BTreeMap<String, Vec<(Instant, Inquiry)>>,
    /// Member to the replica that has brought its heartbeats last.
    hosts: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Open {
    member: String,
    answers: oneshot::Sender<Vec<Found>>,
}

/// One open question; dropped, nobody waits for it any more.
pub(crate) struct Waiting<'a> {
    inquiries: &'a Inquiries,
    id: String,
    answers: oneshot::Receiver<Vec<Found>>,
}

impl Inquiries {
    /// Opens a question. `unique` tells this process from all others that ever made one.
    pub fn open(
        &self,
        unique: &str,
        member: &str,
        (queries, at_millis): (Vec<String>, i64),
        now: Instant,
    ) -> Result<Waiting<'_>, Silence> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let id = format!("{unique}-{number}");
        let within_millis = u64::try_from(WITHIN.as_millis()).unwrap_or(u64::MAX);
        let inquiry = Inquiry { id: id.clone(), at_millis, within_millis, queries };
        let (sender, answers) = oneshot::channel();
        let mut state = self.state();
        if state.open.len() >= MAX_OPEN {
            return Err(Silence::Full);
        }
        state.open.insert(id.clone(), Open { member: member.to_owned(), answers: sender });
        state.put(member, inquiry, now);
        drop(state);
        Ok(Waiting { inquiries: self, id, answers })
    }

    /// What is to be sent to a member whose stream is here.
    pub fn take(&self, member: &str, now: Instant) -> Vec<Inquiry> {
        self.state().take(member, now)
    }

    /// The same for members whose heartbeats a replica has brought last: it has their streams.
    pub fn hand(&self, replica: &str, brought: &[String], now: Instant) -> BTreeMap<String, Vec<Inquiry>> {
        let mut state = self.state();
        for member in brought {
            state.hosts.insert(member.clone(), replica.to_owned());
        }
        let hosted = |member: &&String| state.hosts.get(*member).is_some_and(|host| host == replica);
        let members: Vec<String> = state.unsent.keys().filter(hosted).cloned().collect();
        let (mut handed, mut bytes) = (BTreeMap::new(), 0);
        for member in members {
            if bytes > MAX_HANDED_BYTES {
                break;
            }
            let inquiries = state.take(&member, now);
            bytes += inquiries.iter().flat_map(|inquiry| &inquiry.queries).map(String::len).sum::<usize>();
            handed.insert(member, inquiries);
        }
        handed
    }

    /// The member speaks to this replica.
    pub fn hear_here(&self, member: &str) {
        self.state().hosts.remove(member);
    }

    /// What the leader has handed over, to be sent to a member whose stream is here.
    pub fn put(&self, member: &str, inquiries: Vec<Inquiry>, now: Instant) {
        let mut state = self.state();
        for inquiry in inquiries {
            state.put(member, inquiry, now);
        }
    }

    /// Takes an answer up; false where nobody waits for it, or not from this member.
    pub fn settle(&self, finding: Finding) -> bool {
        let mut state = self.state();
        let Finding { member, id, answers } = finding;
        if state.open.get(&id).is_none_or(|open| open.member != member) {
            return false;
        }
        let open = state.open.remove(&id);
        open.is_some_and(|open| open.answers.send(answers.into_iter().map(bounded).collect()).is_ok())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is guarded is changed in single steps: a panic elsewhere can't have left it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, member: &str, inquiry: Inquiry, now: Instant) {
        let until = now + Duration::from_millis(inquiry.within_millis).min(WITHIN);
        if self.unsent.len() >= MAX_OPEN {
            // Members that are sent nothing, because their stream is nowhere, leave theirs behind.
            self.unsent.retain(|_, inquiries| inquiries.iter().any(|(until, _)| *until > now));
        }
        if self.unsent.len() < MAX_OPEN {
            let inquiries = self.unsent.entry(member.to_owned()).or_default();
            inquiries.retain(|(until, _)| *until > now);
            inquiries.push((until, inquiry));
        }
    }

    fn take(&mut self, member: &str, now: Instant) -> Vec<Inquiry> {
        let unsent = self.unsent.remove(member).unwrap_or_default();
        unsent.into_iter().filter(|(until, _)| *until > now).map(|(_, inquiry)| inquiry).collect()
    }
}

fn bounded(found: Found) -> Found {
    match found {
        Found::Values(values) if values.len() > MAX_VALUES => {
            Found::Failed(format!("its agent sent {} values, at most {MAX_VALUES}", values.len()))
        }
        found => found,
    }
}

impl Waiting<'_> {
    /// The answers, if they come within so long.
    pub async fn answers(mut self, within: Duration) -> Result<Vec<Found>, Silence> {
        match tokio::time::timeout(within, &mut self.answers).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(_)) | Err(_) => Err(Silence::Late),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inquiries.state().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open<'a>(inquiries: &'a Inquiries, member: &str) -> Waiting<'a> {
        inquiries.open("c1-1", member, (vec!["up".to_owned()], 7), Instant::now()).unwrap()
    }

    fn finding(member: &str, id: &str) -> Finding {
        let answers = vec![Found::Values(vec!["1".to_owned()])];
        Finding { member: member.to_owned(), id: id.to_owned(), answers }
    }

    #[tokio::test]
    async fn an_answer_counts_for_the_question_that_is_open_and_once() {
        let inquiries = Inquiries::default();
        let waiting = open(&inquiries, "m1");
        let [inquiry] = inquiries.take("m1", Instant::now()).try_into().unwrap();
        assert_eq!((inquiry.at_millis, inquiry.queries), (7, vec!["up".to_owned()]));
        assert!(inquiries.take("m1", Instant::now()).is_empty(), "it is sent once");
        assert!(!inquiries.settle(finding("m2", &inquiry.id)), "another member can't answer it");
        assert!(!inquiries.settle(finding("m1", "c1-0-0")), "nor does it answer an earlier one");
        assert!(inquiries.settle(finding("m1", &inquiry.id)));
        assert!(!inquiries.settle(finding("m1", &inquiry.id)), "it counts once");
        assert_eq!(waiting.answers(WITHIN).await, Ok(vec![Found::Values(vec!["1".to_owned()])]));
    }

    #[tokio::test]
    async fn who_says_nothing_in_time_is_waited_for_no_longer() {
        let inquiries = Inquiries::default();
        let waiting = open(&inquiries, "m1");
        assert_eq!(waiting.answers(Duration::from_millis(1)).await, Err(Silence::Late));
        assert!(inquiries.state().open.is_empty());
        assert!(inquiries.take("m1", Instant::now() + WITHIN).is_empty(), "nor is it asked any more");
    }

    #[tokio::test]
    async fn a_follower_gets_the_questions_to_members_whose_heartbeats_it_brings() {
        let (leader, follower) = (Inquiries::default(), Inquiries::default());
        let now = Instant::now();
        let _waiting = [open(&leader, "m1"), open(&leader, "m2"), open(&leader, "m3")];
        assert_eq!(leader.hand("c2", &["m1".to_owned()], now).into_keys().collect::<Vec<_>>(), ["m1"]);
        assert!(leader.hand("c2", &["m2".to_owned()], now).contains_key("m2"));
        assert!(leader.hand("c3", &[], now).is_empty());
        leader.hand("c2", &["m3".to_owned()], now);
        let _more = [open(&leader, "m1"), open(&leader, "m3")];
        leader.hear_here("m3");
        let handed = leader.hand("c2", &[], now);
        assert_eq!(handed.keys().collect::<Vec<_>>(), ["m1"], "m3 speaks to the leader by now");
        for (member, inquiries) in handed {
            follower.put(&member, inquiries, now);
        }
        assert_eq!(follower.take("m1", now).len(), 1);
        assert_eq!(leader.take("m3", now).len(), 1);
    }

    #[test]
    fn an_answer_of_too_many_values_is_none() {
        let many = Found::Values(vec!["1".to_owned(); MAX_VALUES + 1]);
        assert!(matches!(bounded(many), Found::Failed(why) if why.contains("1001 values")));
    }
}
