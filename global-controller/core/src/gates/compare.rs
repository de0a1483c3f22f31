//! The control group: whether requests fail more often on updated members than on those that are not updated yet.
//!
//! Both groups are asked about the same moment, so that what comes over all members at once is in both. A block ends when
//! enough requests of both are new; it goes into the test, or, when both groups are below the minimum in it, nowhere: then
//! the trouble is global, and nothing that was measured says anything about the revision.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Confidence, Percentage, Verdict};
use serde::{Deserialize, Serialize};

use super::measure::{only, share};
use super::{Answer, DropTest, Measurement, OpenGate, Requests, Rule, wilson};
use crate::{MemberStage, Millis, Observations, Reachability, RolloutState};

/// Most members of a group: those next to the border between the two, in the order of the plan. More would make each
/// look dearer, and the test hardly faster.
pub(crate) const MAX_COMPARED: usize = 32;

/// What a query must be whose counts are compared.
pub(crate) const COMPARABLE: &str = "must be about one member ({{cluster}} or {{labels.KEY}}) and about {{window}}, and not about one {{revision}}, for analysis.compare";

/// How sure it must be that a group is below the minimum, or is not.
const SURE: Confidence = Confidence::P95;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Group {
    Control,
    Updated,
}

/// A member of a group, and from when on its requests count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    pub name: String,
    pub group: Group,
    pub since: Millis,
}

/// Members that this run has not reached, and that run what they ran before it: those whom an earlier run has touched
/// may still be on its revision.
fn candidates(state: &RolloutState) -> impl Iterator<Item = &String> {
    let untouched = |name: &&String| !state.members.get(*name).is_some_and(|record| state.is_touched(record));
    let unreached = |name: &&String| matches!(state.stage_of(name), MemberStage::Planned | MemberStage::Observing);
    let beyond = state.plan.members.get(state.plan.wave_end..).unwrap_or_default();
    beyond.iter().filter(unreached).filter(untouched)
}

/// Whether there is a control group, heard or not.
pub(super) fn has_control_group(state: &RolloutState) -> bool {
    candidates(state).next().is_some()
}

/// Who is compared in a gate, the control group first. `updated` are the healthy ones, and since when.
pub(super) fn groups(
    open: &OpenGate<'_>,
    updated: &BTreeMap<&str, Millis>,
    state: &RolloutState,
    observations: &Observations<'_>,
) -> Vec<Compared> {
    let heard = |name: &&String| observations.reachability(name) == Reachability::Reachable;
    let of = |name: &str, group, since: Millis| Compared {
        name: name.to_owned(),
        group,
        since: since.max(open.id.began_at),
    };
    let control = candidates(state).filter(heard).take(MAX_COMPARED).map(|name| of(name, Group::Control, 0));
    let latest = state.begun().iter().rev().filter_map(|name| Some((name, updated.get(name.as_str())?)));
    let updated = latest.take(MAX_COMPARED).map(|(name, since)| of(name, Group::Updated, *since));
    control.chain(updated).collect()
}

/// Requests of both groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    control: Requests,
    updated: Requests,
}

/// What has been counted of a member so far, since the gate began or it became healthy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    group: Group,
    since: Millis,
    /// As Prometheus says.
    seen: Requests,
    /// Of these, as many as go into the test.
    certain: Requests,
}

/// How the groups compare in one gate; part of the sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    test: DropTest,
    members: BTreeMap<String, Counted>,
    /// What has come since the last block.
    open: Pair,
    /// The same, as it goes into the test.
    open_certain: Pair,
    /// The last block.
    latest: Pair,
    /// Both groups were below the minimum; these are requests of the control group since the last block in which it still
    /// was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<Requests>,
}

/// What a gate asks of the two groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub minimum: Percentage,
    pub min_requests: u32,
    pub max_drop: Percentage,
}

impl Limits {
    /// Those of a rule that compares.
    pub fn of(rule: &Rule) -> Option<Self> {
        match rule {
            Rule::Drop { minimum, min_requests, max_drop, .. } => {
                Some(Self { minimum: *minimum, min_requests: *min_requests, max_drop: *max_drop })
            }
            Rule::SuccessRate { .. } | Rule::Values { .. } => None,
        }
    }
}

/// How sure one can be of the control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Surely not below it.
    Well,
    /// Surely below it.
    Bad,
    /// Too few requests to be sure, and not below it as they are.
    PerhapsWell,
    /// Too few requests to be sure, and below it as they are.
    PerhapsBad,
    /// Too few requests.
    Unknown,
}

impl Comparison {
    /// With one more look: answers for good and total of each member. What it shows, for people too.
    pub(super) fn look(
        &mut self,
        (compared, answers): (&[Compared], &[Answer]),
        limits: Limits,
        (at, interval): (Millis, Millis),
    ) -> Measurement {
        let is_first = self.members.is_empty();
        let (mut failed, mut answered) = (None, BTreeSet::new());
        let mut members = BTreeMap::new();
        for (one, answers) in compared.iter().zip(answers.chunks(2)) {
            let before = self.members.get(&one.name).filter(|before| before.since == one.since).copied();
            match requests(answers) {
                Ok(seen) => {
                    let counted = one.counted(before.as_ref(), seen, (at, interval));
                    // From another moment on than the others it is counted from its next look on.
                    if is_first || before.is_some() {
                        self.add(before, counted);
                    }
                    members.insert(one.name.clone(), counted);
                    answered.insert(one.group);
                }
                Err(measured) => {
                    members.extend(before.map(|before| (one.name.clone(), before)));
                    failed = failed.or(Some(measured).filter(|measured| measured.verdict == Verdict::Inconclusive));
                }
            }
        }
        self.members = members;
        // One of many without an answer is taken up later, with all that has come since.
        if let Some(measured) = failed.filter(|_| answered.len() < 2) {
            return measured;
        }
        self.end_block(limits);
        self.verdict(limits)
    }

    fn add(&mut self, before: Option<Counted>, counted: Counted) {
        let zero = Counted { seen: Requests::default(), certain: Requests::default(), ..counted };
        let before = before.unwrap_or(zero);
        self.open.of(counted.group).add(counted.seen, before.seen);
        self.open_certain.of(counted.group).add(counted.certain, before.certain);
    }

    /// Ends the block when enough requests of both groups are in it.
    fn end_block(&mut self, limits: Limits) {
        let least = f64::from(limits.min_requests);
        if self.open.control.total < least || self.open.updated.total < least {
            return;
        }
        let (block, certain) = (std::mem::take(&mut self.open), std::mem::take(&mut self.open_certain));
        self.latest = block;
        let sums = self.sums();
        let is_bad = |requests: Requests| requests.is_surely_below(limits.minimum);
        let both = |pair: Pair| is_bad(pair.control) && is_bad(pair.updated);
        let control_is_below = block.control.success() < limits.minimum.share();
        if both(block) || both(sums) && control_is_below {
            self.trouble = Some(Requests::default());
        } else if let Some(since) = &mut self.trouble {
            if control_is_below {
                *since = Requests::default();
            } else {
                since.add(block.control, Requests::default());
            }
        } else {
            self.test.observe(limits.max_drop.share(), certain.control, certain.updated);
        }
    }

    fn verdict(&self, limits: Limits) -> Measurement {
        let sums = self.sums();
        let least = f64::from(limits.min_requests);
        for (group, place) in [(sums.updated, "where updated"), (sums.control, "where not updated yet")] {
            if group.total < least {
                let (total, least) = (group.total.round(), limits.min_requests);
                let found = format!("{total} requests {place}, fewer than minRequests ({least})");
                return Measurement::new(Verdict::NoData, &found);
            }
        }
        let both = format!(
            "{} of {} requests succeed where updated, {} of {} where not updated yet",
            share(sums.updated.success()),
            sums.updated.total.round(),
            share(sums.control.success()),
            sums.control.total.round()
        );
        let (verdict, so) = if self.is_in_trouble() {
            (Verdict::Inconclusive, format!("both are, or were, below the minimum of {}", limits.minimum))
        } else if self.test.shows_drop() {
            (Verdict::Fail, format!("more than {} less", limits.max_drop))
        } else {
            (Verdict::Pass, format!("not shown to be more than {} less", limits.max_drop))
        };
        let value = format!("{:.3}", self.test.value().min(1e6));
        Measurement::new(verdict, &format!("{both}: {so} (e-value {value}, fails from {})", DropTest::SHOWN))
    }

    /// All that was seen in this gate of those who are compared now.
    fn sums(&self) -> Pair {
        let mut sums = Pair::default();
        for counted in self.members.values() {
            sums.of(counted.group).add(counted.seen, Requests::default());
        }
        sums
    }

    /// Whether both groups are, or have been, below the minimum: nothing in this gate says anything about the revision.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether they have been, and the control group surely no longer is.
    pub(super) fn has_left_trouble(&self, limits: Limits) -> bool {
        self.trouble.is_some_and(|since| since.is_surely_at(limits.minimum))
    }

    /// How the control group stands to the minimum, in the last block and in all of the gate.
    pub(super) fn control(&self, limits: Limits) -> Control {
        let Limits { minimum, min_requests, .. } = limits;
        let (all, latest) = (self.sums().control, self.latest.control);
        if all.total < f64::from(min_requests) {
            return Control::Unknown;
        }
        let latest = if latest.total > 0.0 { latest } else { all };
        let is_below = |requests: Requests| requests.success() < minimum.share();
        match (is_below(latest), is_below(all)) {
            _ if latest.is_surely_below(minimum) || all.is_surely_below(minimum) => Control::Bad,
            _ if latest.is_surely_at(minimum) => Control::Well,
            (false, _) if all.is_surely_at(minimum) => Control::Well,
            (_, true) => Control::PerhapsBad,
            (_, false) => Control::PerhapsWell,
        }
    }
}

impl Compared {
    /// Prometheus extrapolates what two scrapes have counted to the whole window, by up to a scrape interval, which would
    /// make more of the same evidence than there is. Whoever measures at an interval scrapes at least as often: so much of
    /// the window is left out, and the first look counts for nothing.
    fn counted(&self, before: Option<&Counted>, seen: Requests, (at, interval): (Millis, Millis)) -> Counted {
        let (window, interval) = (millis(at - self.since), millis(interval));
        let part = if window > interval { (window - interval) / window } else { 0.0 };
        let certain = Requests { total: seen.total * part, failed: seen.failed * part };
        // Extrapolation may take back a little of what it said before.
        let at_least = |now: Requests, before: Requests| Requests {
            total: now.total.max(before.total),
            failed: now.failed.max(before.failed),
        };
        let Some(before) = before else { return Counted { group: self.group, since: self.since, seen, certain } };
        let (seen, certain) = (at_least(seen, before.seen), at_least(certain, before.certain));
        Counted { group: self.group, since: self.since, seen, certain }
    }
}

impl Pair {
    fn of(&mut self, group: Group) -> &mut Requests {
        match group {
            Group::Control => &mut self.control,
            Group::Updated => &mut self.updated,
        }
    }
}

impl Requests {
    /// Adds those that came between two counts.
    fn add(&mut self, now: Self, before: Self) {
        let total = (now.total - before.total).max(0.0);
        self.total += total;
        self.failed += (now.failed - before.failed).clamp(0.0, total);
    }

    /// The part that succeeded; all of none.
    fn success(self) -> f64 {
        if self.total > 0.0 { 1.0 - self.failed / self.total } else { 1.0 }
    }

    fn interval(self) -> (f64, f64) {
        if self.total > 0.0 { wilson::interval(self.total - self.failed, self.total, SURE) } else { (0.0, 1.0) }
    }

    fn is_surely_below(self, minimum: Percentage) -> bool {
        self.interval().1 < minimum.share()
    }

    fn is_surely_at(self, minimum: Percentage) -> bool {
        self.interval().0 >= minimum.share()
    }
}

/// Of the answers to good and total. A member without any series has had no requests.
fn requests(answers: &[Answer]) -> Result<Requests, Measurement> {
    let [good, total] = answers else {
        return Err(Measurement::inconclusive("the number of answers is not that of the queries"));
    };
    let total = only(total, "total")?.max(0.0);
    let good = only(good, "good")?.clamp(0.0, total);
    Ok(Requests { total, failed: total - good })
}

#[allow(clippy::cast_precision_loss)] // A pause of a month is far from where whole numbers end.
fn millis(millis: Millis) -> f64 {
    millis as f64
}
