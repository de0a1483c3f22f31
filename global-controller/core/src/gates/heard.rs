//! Alerts that an Alertmanager has told of: which fail a gate, and whether anybody would tell.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Basis, Judgement, OpenGate};
use crate::alerts::AlertKind;
use crate::{Millis, Observations, RolloutState, Run, words};

/// Label that names the alert.
const ALERTNAME: &str = "alertname";
/// Label that names a rollout.
const ROLLOUT: &str = "rollout";

/// An alert as an Alertmanager told it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeardAlert {
    /// What names it.
    pub labels: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: Millis,
    /// Until when it fired; none while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
    /// When it was told last.
    pub heard_at: Millis,
}

/// Alerts by their fingerprints.
pub type HeardAlerts = BTreeMap<String, HeardAlert>;

/// Which alerts fail a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertRule {
    /// Labels that it must have.
    pub labels: BTreeMap<String, String>,
    /// The label that names the member.
    pub cluster_label: String,
    /// An alert that always fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<WatchdogRule>,
}

/// An alert that always fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchdogRule {
    /// Its name.
    pub alertname: String,
    /// After how long without being told it is silent.
    pub silent_seconds: u32,
}

impl HeardAlert {
    fn name(&self) -> &str {
        self.labels.get(ALERTNAME).map_or("", String::as_str)
    }

    fn fires(&self) -> bool {
        self.ended_at.is_none()
    }
}

impl AlertRule {
    /// Whether an alert has the labels, and is neither the watchdog nor one of our own, which says what became of a rollout.
    fn matches(&self, alert: &HeardAlert) -> bool {
        let has = |(name, value): (&String, &String)| alert.labels.get(name) == Some(value);
        let watchdog = self.watchdog.as_ref().is_some_and(|watchdog| watchdog.alertname == alert.name());
        !watchdog && !AlertKind::is_name(alert.name()) && self.labels.iter().all(has)
    }
}

/// The alerts that fail the gate of a run on its way.
pub(super) struct Alarm {
    text: String,
    members: BTreeSet<String>,
}

impl Alarm {
    /// What fires of members since they were told to apply, or of the rollout since the run began. What fired before is not
    /// its doing, and may be what it is to repair (SEMANTICS 29).
    pub fn of(run: &Run, state: &RolloutState, observations: &Observations<'_>) -> Option<Self> {
        let rule = run.gate.as_ref().filter(|_| run.goes_forward())?.alerts.as_ref()?;
        let told: BTreeMap<&str, Millis> = state
            .begun()
            .iter()
            .filter(|name| state.stage_of(name).is_assigned())
            .filter_map(|name| Some((name.as_str(), state.members.get(name)?.told_at)))
            .collect();
        let (mut texts, mut members) = (Vec::new(), BTreeSet::new());
        let began = |alert: &&HeardAlert| alert.fires() && alert.starts_at >= run.started_at;
        for alert in observations.alerts.values().filter(began).filter(|alert| rule.matches(alert)) {
            let since = |name: &String| told.get(name.as_str()).is_some_and(|told_at| alert.starts_at >= *told_at);
            let member = alert.labels.get(&rule.cluster_label).filter(|name| since(name));
            let ours = alert.labels.get(ROLLOUT).is_some_and(|name| *name == state.header.name);
            match member {
                Some(member) => {
                    texts.push(format!("{} on {member}", alert.name()));
                    members.insert(member.clone());
                }
                None if ours => texts.push(alert.name().to_owned()),
                None => {}
            }
        }
        let noun = if texts.len() == 1 { "alert fires" } else { "alerts fire" };
        let text = format!("{} {noun}: {}", texts.len(), words::list(&texts));
        (!texts.is_empty()).then_some(Self { text, members })
    }

    /// A failure, at whatever time.
    pub fn judged(self) -> Judgement {
        Judgement::failed(self.text, self.members, Basis::default())
    }
}

impl OpenGate<'_> {
    /// Why nobody would tell if an alert fired: for an updated member the watchdogs that name it, or where none does those
    /// that name no member, were not told for too long.
    pub(super) fn silence(&self, state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Option<String> {
        let rule = self.gate.alerts.as_ref()?;
        let watchdog = rule.watchdog.as_ref()?;
        let of = |member: Option<&str>| -> Vec<&HeardAlert> {
            let named = |alert: &&HeardAlert| alert.labels.get(&rule.cluster_label).map(String::as_str) == member;
            observations.alerts.values().filter(|alert| alert.name() == watchdog.alertname).filter(named).collect()
        };
        let general = of(None);
        let silent: Vec<&str> = self
            .updated(state, observations)
            .into_keys()
            .filter(|member| {
                let own = of(Some(member));
                let meant = if own.is_empty() { &general } else { &own };
                !meant.iter().any(|alert| alert.fires() && watchdog.falls_silent_at(alert) > now)
            })
            .collect();
        let (name, seconds) = (&watchdog.alertname, words::seconds(watchdog.silent_seconds.into()));
        (!silent.is_empty()).then(|| {
            format!("alert {name} was not told for {seconds}, so others may fire unheard: {}", words::list(&silent))
        })
    }

    /// When the next watchdog falls silent unless it is told again.
    pub(crate) fn watchdog_falls_silent(&self, observations: &Observations<'_>, now: Millis) -> Option<Millis> {
        let watchdog = self.gate.alerts.as_ref()?.watchdog.as_ref()?;
        let meant = observations.alerts.values().filter(|alert| alert.name() == watchdog.alertname && alert.fires());
        meant.map(|alert| watchdog.falls_silent_at(alert)).filter(|at| *at > now).min()
    }
}

impl WatchdogRule {
    fn falls_silent_at(&self, alert: &HeardAlert) -> Millis {
        alert.heard_at + i64::from(self.silent_seconds) * 1000
    }
}
