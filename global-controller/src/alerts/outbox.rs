//! What one receiver has taken, and so what it is to be told next. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rollout_core::{Alert, Millis};
use tokio::time::Instant;

use super::Told;

/// How long it is repeated that something is over: an Alertmanager that is started anew may not have got to telling
/// anybody. As long as Prometheus does.
const REPEATED_FOR: Millis = 15 * 60 * 1000;

type Labels = BTreeMap<String, String>;

/// What one receiver has taken. Bounded by what there is to tell.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    taken: HashMap<Labels, Taken>,
}

#[derive(Debug)]
struct Taken {
    since: Millis,
    until: Option<Millis>,
    at: Instant,
}

impl Outbox {
    /// What is to be told now: what it has not taken yet as it is, and what is to be repeated.
    pub fn due<'a>(&self, told: &'a Told, now: Instant, now_millis: Millis) -> Vec<&'a Alert> {
        let is_due = |alert: &&Alert| self.due_at(alert, told.resend, now_millis, now).is_some_and(|at| at <= now);
        told.alerts.iter().filter(is_due).collect()
    }

    /// When the next is due; none while there is nothing to repeat.
    pub fn next_at(&self, told: &Told, now: Instant, now_millis: Millis) -> Option<Instant> {
        told.alerts.iter().filter_map(|alert| self.due_at(alert, told.resend, now_millis, now)).min()
    }

    /// None: it has taken it for good.
    fn due_at(&self, alert: &Alert, resend: Duration, now_millis: Millis, now: Instant) -> Option<Instant> {
        match self.taken.get(&alert.labels) {
            Some(taken) if (taken.since, taken.until) == (alert.since, alert.until) => {
                let repeated = alert.until.is_none_or(|until| until + REPEATED_FOR > now_millis);
                repeated.then(|| taken.at + resend)
            }
            _ => Some(now),
        }
    }

    /// It has taken these.
    pub fn take(&mut self, alerts: &[&Alert], at: Instant) {
        for alert in alerts {
            self.taken.insert(alert.labels.clone(), Taken { since: alert.since, until: alert.until, at });
        }
    }

    /// Forgets what is told no longer.
    pub fn keep_only(&mut self, told: &Told) {
        let labels: BTreeSet<&Labels> = told.alerts.iter().map(|alert| &alert.labels).collect();
        self.taken.retain(|taken, _| labels.contains(taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollout_core::AlertKind;

    const RESEND: Duration = Duration::from_secs(30);

    fn told(until: Option<Millis>) -> Told {
        let (summary, description) = (String::new(), String::new());
        let labels = [("alertname".to_owned(), "a".to_owned())].into();
        let alert = Alert { kind: AlertKind::Held, labels, summary, description, since: 1_000, until };
        Told { alerts: vec![alert], external_url: None, resend: RESEND }
    }

    #[test]
    fn what_lasts_is_told_at_once_and_again_and_again() {
        let (mut outbox, now, lasts) = (Outbox::default(), Instant::now(), told(None));
        let due = outbox.due(&lasts, now, 2_000);
        assert_eq!(due.len(), 1);
        outbox.take(&due, now);
        assert!(outbox.due(&lasts, now, 2_000).is_empty());
        assert_eq!(outbox.next_at(&lasts, now, 2_000), Some(now + RESEND));
        assert_eq!(outbox.due(&lasts, now + RESEND, 32_000).len(), 1);
        // It began anew.
        let mut anew = told(None);
        anew.alerts.iter_mut().for_each(|alert| alert.since = 5_000);
        assert_eq!(outbox.due(&anew, now, 5_000).len(), 1);
    }

    #[test]
    fn that_it_is_over_is_told_until_it_is_taken_and_repeated_for_a_while() {
        let (mut outbox, now, over) = (Outbox::default(), Instant::now(), told(Some(3_000)));
        outbox.take(&told(None).alerts.iter().collect::<Vec<_>>(), now);
        let late = 3_000 + REPEATED_FOR;
        assert_eq!(outbox.due(&over, now, late).len(), 1, "however late, while it was not taken");
        outbox.take(&outbox.due(&over, now, 4_000).clone(), now);
        assert_eq!(outbox.due(&over, now + RESEND, late - 1).len(), 1);
        assert!(outbox.due(&over, now + RESEND, late).is_empty());
        assert_eq!(outbox.next_at(&over, now, late), None);
    }

    #[test]
    fn what_is_told_no_longer_is_forgotten() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.take(&told(None).alerts.iter().collect::<Vec<_>>(), now);
        outbox.keep_only(&Told::default());
        assert_eq!(outbox.due(&told(None), now, 2_000).len(), 1);
    }
}
