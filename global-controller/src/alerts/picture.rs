//! All that there is to tell, kept up to date rollout by rollout.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rollout_core::{Alert, AlertKind, Millis, Severity, alerts};

use crate::bus::Dirty;
use crate::clock;
use crate::world::World;

/// Alerts that last and are told. A thousand rollouts that all stand still are too many to read; then the gravest are
/// told, and one that says how many there are.
const MAX_FIRING: usize = 1_000;
/// Alerts that are over and are told, the latest ones.
const MAX_ENDED: usize = 4_000;
/// Name of the alert that stands for those that are left out.
const OMITTED: &str = "RolloutAlertsOmitted";

/// All that there is to tell.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// By uid; those with something to tell alone.
    rollouts: BTreeMap<String, Vec<Alert>>,
    /// Of rollouts whose records are gone: their state can't tell any more that it is over.
    departed: Vec<Alert>,
}

impl Picture {
    /// Looks at the rollouts that changed; with `refresh` also at all of which there is something to tell, since the words
    /// may be others by now. Whether there may be something else to tell.
    pub fn update(&mut self, world: &World, dirty: &Dirty, refresh: bool) -> bool {
        let mut uids: BTreeSet<String> = dirty.rollouts.clone();
        if dirty.everything {
            uids.extend(world.mirror().rollouts().cloned());
        }
        if dirty.everything || refresh {
            uids.extend(self.rollouts.keys().cloned());
        }
        let now = clock::now_millis();
        let silent = |uid: &String| world.mirror().rollout(uid).map(|stored| stored.state.header.alerts.is_empty());
        let (mut told, mut gone, mut changed) = (Vec::new(), Vec::new(), false);
        for uid in uids {
            match silent(&uid) {
                Some(false) => told.push(uid),
                Some(true) => changed |= self.rollouts.remove(&uid).is_some(),
                None => gone.push(uid),
            }
        }
        for uid in gone {
            changed |= self.depart(&uid, now);
        }
        if told.is_empty() {
            return changed;
        }
        let members = world.member_facts();
        for uid in told {
            let found = world
                .look(&uid, &members, |known, desired, observations| alerts(&known.state, desired, observations, now));
            self.rollouts.insert(uid, found);
        }
        true
    }

    /// A rollout whose records are gone: what lasted is over. Whether there was anything to tell of it.
    fn depart(&mut self, uid: &str, now: Millis) -> bool {
        let Some(left) = self.rollouts.remove(uid) else { return false };
        self.departed.extend(left.into_iter().map(|alert| Alert { until: alert.until.or(Some(now)), ..alert }));
        let surplus = self.departed.len().saturating_sub(MAX_FIRING);
        self.departed.drain(..surplus);
        true
    }

    /// What is told, with these labels on each: what lasts, the gravest first, then what is over, the latest first.
    pub fn alerts(&self, labels: &BTreeMap<String, String>) -> Vec<Alert> {
        let all = self.rollouts.values().flatten().chain(&self.departed);
        let (mut firing, mut ended): (Vec<&Alert>, Vec<&Alert>) = all.partition(|alert| alert.until.is_none());
        firing.sort_by_key(|alert| (rank(alert.kind), alert.since));
        ended.sort_by_key(|alert| Reverse(alert.until));
        ended.truncate(MAX_ENDED);
        let omitted = firing.len().saturating_sub(MAX_FIRING);
        firing.truncate(MAX_FIRING);
        let since = firing.iter().map(|alert| alert.since).min().unwrap_or_default();
        let omitted = (omitted > 0).then(|| summary(omitted, since));
        let told = firing.into_iter().chain(ended).cloned().chain(omitted);
        told.map(|mut alert| {
            alert.labels.extend(labels.clone());
            alert
        })
        .collect()
    }
}

fn rank(kind: AlertKind) -> u8 {
    match kind.severity() {
        Severity::Critical => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    }
}

/// Stands for alerts that are left out. It is over by itself once it is not repeated.
fn summary(omitted: usize, since: Millis) -> Alert {
    let labels = [("alertname", OMITTED), ("severity", Severity::Warning.as_str())];
    Alert {
        kind: AlertKind::Held,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        summary: "more rollouts need attention than are told one by one".to_owned(),
        description: format!("{omitted} alerts are left out, of {MAX_FIRING} the gravest are told"),
        since,
        until: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn alert(kind: AlertKind, number: usize, until: Option<Millis>) -> Alert {
        let labels = [("alertname".to_owned(), kind.name().to_owned()), ("rollout".to_owned(), format!("r{number}"))];
        let (summary, description) = (String::new(), String::new());
        Alert { kind, labels: labels.into(), summary, description, since: 1, until }
    }

    #[test]
    fn each_gets_the_configured_labels_and_what_is_over_comes_last() {
        let alerts = vec![alert(AlertKind::Held, 1, Some(5)), alert(AlertKind::Held, 2, None)];
        let picture = Picture { rollouts: [("u".to_owned(), alerts)].into(), departed: Vec::new() };
        let told = picture.alerts(&[("hub".to_owned(), "eu".to_owned())].into());
        let names: Vec<_> =
            told.iter().map(|alert| (alert.labels["rollout"].as_str(), alert.labels["hub"].as_str())).collect();
        assert_eq!(names, [("r2", "eu"), ("r1", "eu")]);
    }

    #[test]
    fn of_too_many_the_gravest_are_told_and_one_says_how_many_there_are() {
        let mut alerts: Vec<Alert> =
            (0..MAX_FIRING + 7).map(|number| alert(AlertKind::ApprovalWaiting, number, None)).collect();
        alerts.push(alert(AlertKind::GateFailed, 9_999, None));
        let picture = Picture { rollouts: [("u".to_owned(), alerts)].into(), departed: Vec::new() };
        let told = picture.alerts(&BTreeMap::new());
        assert_eq!(told.len(), MAX_FIRING + 1);
        assert_eq!(told[0].kind, AlertKind::GateFailed);
        let last = told.last().unwrap();
        assert_eq!(last.labels["alertname"], OMITTED);
        assert!(last.description.starts_with("8 alerts are left out"), "{}", last.description);
    }

    #[test]
    fn what_lasted_of_a_rollout_that_is_gone_is_over() {
        let alerts = vec![alert(AlertKind::Held, 1, None), alert(AlertKind::RolledBack, 1, Some(3))];
        let mut picture = Picture { rollouts: [("u".to_owned(), alerts)].into(), departed: Vec::new() };
        picture.depart("u", 9);
        let until: Vec<_> = picture.alerts(&BTreeMap::new()).iter().map(|alert| alert.until).collect();
        assert_eq!(until, [Some(9), Some(3)]);
    }
}
