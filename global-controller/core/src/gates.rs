//! Metric gates: what is measured while a pause or the soak runs, and what the measurements show.
//!
//! ```text
//! analysis + configuration ──▶ Gate (kept in the run) ──measurements_due──▶ Ask ──▶ Prometheus ──▶ Answer
//!                                        ▲                                                          │ Metric::measure
//!                                     decide ◀── Observations.samples ◀── store ◀── Sample ◀────────┘
//! ```
//!
//! Only evidence passes or fails: silence, errors and what can't be a number do neither (SEMANTICS 27).

mod address;
mod as_text;
mod background;
mod compare;
mod condition;
mod due;
mod heard;
mod judge;
mod measure;
mod sample;
mod sequential;
mod series;
mod template;
mod wilson;

use crds::{Confidence, GateMode, MeasuredFrom, OnNoData, Percentage};
use serde::{Deserialize, Serialize};

use crate::{Clock, Millis, Rollout, Run, Stage};

pub use address::{Address, AddressError, Origin};
pub use compare::Comparison;
pub(crate) use compare::{COMPARABLE, MAX_COMPARED};
pub use condition::Condition;
pub use due::{Ask, Asked, Whom, measurements_due};
pub use heard::{AlertRule, HeardAlert, HeardAlerts, WatchdogRule};
pub(crate) use judge::Judgement;
pub use measure::{Answer, Measurement};
pub use sample::{Basis, GateId, Sample, SampleKey, Samples};
pub use sequential::{DropTest, Requests};
pub use template::{About, MEMBER_MARK, Query, Template, TemplateError};

/// Name of the metric that `analysis.successRate`, or the configuration, makes.
pub const SUCCESS_RATE: &str = "success-rate";
/// Name of the metric that `analysis.compare` makes.
pub const SUCCESS_RATE_DROP: &str = "success-rate-drop";
/// Names of all metrics have at most so many characters, and there are at most so many beside the success rate.
pub const MAX_METRICS: usize = 16;

/// What the controller's configuration says about gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateSettings {
    /// What happens at the end of a pause while no source is configured.
    pub when_unconfigured: GateMode,
    /// Names of the configured Prometheus servers; the first is asked where a rollout names none.
    pub sources: Vec<String>,
    /// Where the servers may be that rollouts name by their address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<Origin>,
    /// The gate of rollouts without one of their own.
    pub success_rate: DefaultRate,
}

/// The success rate where a rollout doesn't say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultRate {
    /// The least share of requests that must succeed.
    pub minimum: Percentage,
    /// Counts requests that succeeded.
    pub good: Template,
    /// Counts all requests.
    pub total: Template,
    /// Fewer requests are no evidence.
    pub min_requests: u32,
}

/// What a run takes from the configuration when it starts, and keeps (SEMANTICS 26).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateDefaults {
    /// The source where the rollout names none.
    pub source: String,
    /// The success rate where the rollout doesn't say.
    pub success_rate: DefaultRate,
}

/// As a controller says that says nothing: no source, and the names of metrics that many services use.
impl Default for GateSettings {
    fn default() -> Self {
        Self {
            when_unconfigured: GateMode::Hold,
            sources: Vec::new(),
            allowed_origins: Vec::new(),
            success_rate: DefaultRate::default(),
        }
    }
}

impl Default for DefaultRate {
    fn default() -> Self {
        let good = r#"sum(increase(http_requests_total{cluster="{{cluster}}",code!~"5.."}[{{window}}])) or vector(0)"#;
        let total = r#"sum(increase(http_requests_total{cluster="{{cluster}}"}[{{window}}]))"#;
        Self {
            minimum: Percentage::DEFAULT_MINIMUM,
            good: Template::known(good),
            total: Template::known(total),
            min_requests: 100,
        }
    }
}

impl GateSettings {
    /// What a run keeps; none while no source is configured and one is needed.
    pub(crate) fn defaults(&self, analysis: Option<&Analysis>) -> Option<GateDefaults> {
        let needs_source = analysis.is_none_or(Analysis::needs_source);
        let source = self.sources.first().cloned().or_else(|| (!needs_source).then(String::new))?;
        Some(GateDefaults { source, success_rate: self.success_rate.clone() })
    }

    /// What a run goes on with that has kept something before: where that names no source, and one is needed now, it is
    /// as if it had kept nothing.
    pub(crate) fn defaults_after(
        &self,
        kept: Option<GateDefaults>,
        analysis: Option<&Analysis>,
    ) -> Option<GateDefaults> {
        let needs_source = analysis.is_none_or(Analysis::needs_source);
        kept.filter(|kept| !(needs_source && kept.source.is_empty())).or_else(|| self.defaults(analysis))
    }
}

/// `analysis` as decisions use it: parsed once, complete, valid. Made only by [`crate::validate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Name of a configured source; none: the first.
    pub source: Option<String>,
    /// Address of another one, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Who asks.
    #[serde(default, skip_serializing_if = "MeasuredFrom::is_hub")]
    pub from: MeasuredFrom,
    /// What differs from the configured success rate; none: not asked for.
    pub success_rate: Option<RateRule>,
    /// How much less may succeed than in the control group; none: nothing is compared.
    pub max_drop: Option<Percentage>,
    /// Further metrics.
    pub metrics: Vec<Metric>,
    /// Alerts that fail it.
    pub alerts: Option<AlertRule>,
    /// When and how often.
    pub pace: Pace,
}

impl Analysis {
    /// Whether no metric is measured, so that no source is needed.
    pub(crate) fn only_alerts(&self) -> bool {
        self.alerts.is_some() && self.success_rate.is_none() && self.metrics.is_empty()
    }

    /// Whether a Prometheus of the configuration is asked.
    pub(crate) fn needs_source(&self) -> bool {
        self.from.is_hub() && !self.only_alerts() && self.address.is_none()
    }
}

/// What a rollout says about its success rate; none: as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateRule {
    /// The least share.
    pub minimum: Option<Percentage>,
    /// Queries for good and total.
    pub queries: Option<(Template, Template)>,
    /// Fewer requests are no evidence.
    pub min_requests: Option<u32>,
    /// How sure it must be; none: the measured share is taken for the truth.
    pub confidence: Option<Confidence>,
}

/// When and how often is measured, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// Seconds between two measurements, at least 5.
    pub interval_seconds: u32,
    /// Measurements of each series that may fail.
    pub failure_limit: u32,
    /// Measurements of each series that must have passed or failed; at least 1.
    pub min_samples: u32,
    /// What happens when there is nothing to measure at the end.
    pub on_no_data: OnNoData,
    /// Seconds from the beginning for which too little evidence is no reason to say that the run holds.
    pub max_pause_seconds: u32,
    /// Whether metrics are also measured outside of pauses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval_seconds: 30,
            failure_limit: 0,
            min_samples: 1,
            on_no_data: OnNoData::Hold,
            max_pause_seconds: 0,
            background: false,
        }
    }
}

/// All that is measured in a run, and what it must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Name of the configured source, or the address of another; empty where none is asked.
    pub source: String,
    /// Who asks.
    #[serde(default, skip_serializing_if = "MeasuredFrom::is_hub")]
    pub from: MeasuredFrom,
    /// None where only alerts are looked at.
    pub metrics: Vec<Metric>,
    /// Alerts that fail it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertRule>,
    /// When and how often.
    pub pace: Pace,
}

/// One metric and what it must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Unique in its gate.
    pub name: String,
    /// What is asked, and what the answer must be.
    pub rule: Rule,
}

/// What is asked, and what the answer must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Rule {
    /// A share of requests.
    SuccessRate {
        /// Counts requests that succeeded.
        good: Template,
        /// Counts all requests.
        total: Template,
        /// The least share.
        minimum: Percentage,
        /// Fewer requests are no evidence.
        min_requests: u32,
        /// How sure it must be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confidence: Option<Confidence>,
    },
    /// The share of requests on updated members, beside that of the control group in the same time.
    Drop {
        /// Counts requests that succeeded.
        good: Template,
        /// Counts all requests.
        total: Template,
        /// The least share: when both groups are below it, the trouble is not the revision's.
        minimum: Percentage,
        /// Fewer requests of a group are no evidence.
        min_requests: u32,
        /// How much less may succeed.
        max_drop: Percentage,
    },
    /// Values that meet a condition.
    Values {
        /// What is asked.
        query: Template,
        /// What the answer must be.
        condition: Condition,
    },
}

impl Rule {
    /// All that is asked.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::SuccessRate { good, total, .. } | Self::Drop { good, total, .. } => vec![good, total],
            Self::Values { query, .. } => vec![query],
        }
    }
}

impl Metric {
    /// That of the control group, beside a success rate.
    fn compared(&self, max_drop: Percentage) -> Option<Self> {
        let Rule::SuccessRate { good, total, minimum, min_requests, confidence: _ } = &self.rule else { return None };
        let (good, total) = (good.clone(), total.clone());
        let rule = Rule::Drop { good, total, minimum: *minimum, min_requests: *min_requests, max_drop };
        Some(Self { name: SUCCESS_RATE_DROP.to_owned(), rule })
    }

    /// Whether it is measured for each member.
    pub fn is_per_member(&self) -> bool {
        match &self.rule {
            Rule::SuccessRate { good, total, .. } => good.names_member() || total.names_member(),
            // Both groups are asked at once, so that they are compared in the same time.
            Rule::Drop { .. } => false,
            Rule::Values { query, .. } => query.names_member(),
        }
    }
}

impl Gate {
    /// The gate of a rollout, with what the run has kept of the configuration; none where it would need that, and there is
    /// none.
    pub(crate) fn of(analysis: Option<&Analysis>, defaults: Option<&GateDefaults>) -> Option<Self> {
        if let Some(analysis) = analysis.filter(|analysis| analysis.only_alerts()) {
            let (source, from, metrics) = (String::new(), MeasuredFrom::Hub, Vec::new());
            return Some(Self { source, from, metrics, alerts: analysis.alerts.clone(), pace: analysis.pace });
        }
        defaults.map(|defaults| Self::measured(analysis, defaults))
    }

    fn measured(analysis: Option<&Analysis>, defaults: &GateDefaults) -> Self {
        let rate = |rule: Option<&RateRule>| {
            let DefaultRate { minimum, good, total, min_requests } = defaults.success_rate.clone();
            let (good, total) = rule.and_then(|rule| rule.queries.clone()).unwrap_or((good, total));
            let rule = Rule::SuccessRate {
                good,
                total,
                minimum: rule.and_then(|rule| rule.minimum).unwrap_or(minimum),
                min_requests: rule.and_then(|rule| rule.min_requests).unwrap_or(min_requests),
                confidence: rule.and_then(|rule| rule.confidence),
            };
            Metric { name: SUCCESS_RATE.to_owned(), rule }
        };
        let Some(analysis) = analysis else {
            let pace = Pace::default();
            let (source, from) = (defaults.source.clone(), MeasuredFrom::Hub);
            return Self { source, from, metrics: vec![rate(None)], alerts: None, pace };
        };
        let compares = analysis.max_drop.is_some();
        let wants_rate = analysis.success_rate.is_some() || analysis.metrics.is_empty() || compares;
        let own = wants_rate.then(|| rate(analysis.success_rate.as_ref()));
        let drop = own.as_ref().zip(analysis.max_drop).and_then(|(own, max_drop)| own.compared(max_drop));
        let address = analysis.address.as_ref().map(ToString::to_string);
        let source = address.or_else(|| analysis.source.clone()).unwrap_or_else(|| defaults.source.clone());
        Self {
            source: if analysis.from.is_hub() { source } else { String::new() },
            from: analysis.from,
            metrics: own.into_iter().chain(drop).chain(analysis.metrics.iter().cloned()).collect(),
            alerts: analysis.alerts.clone(),
            pace: analysis.pace,
        }
    }

    /// Whether a metric is measured for each member: where each has a Prometheus of its own, all are.
    pub(crate) fn is_per_member(&self, metric: &Metric) -> bool {
        !self.from.is_hub() || metric.is_per_member()
    }

    /// Measurements of each series that a pause of so many seconds needs (SEMANTICS 23).
    pub(crate) fn needed(&self, pause_seconds: u32) -> u32 {
        self.pace.min_samples.max(pause_seconds / self.pace.interval_seconds.max(1))
    }
}

/// A gate at work: the pause or soak of a run, while metrics are measured in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenGate<'a> {
    pub run: &'a Run,
    pub gate: &'a Gate,
    pub id: GateId,
    /// When its clock ends; none while a person has paused the rollout, and of the background.
    pub ends_at: Option<Millis>,
    /// Whether it is what is measured beside pauses: it fails a run and lets none go on.
    pub background: bool,
}

impl<'a> OpenGate<'a> {
    /// That of a run; none between pauses, and where no metric is measured.
    pub fn of(run: &'a Run) -> Option<Self> {
        let gate = run.gate.as_ref()?;
        let ends_at = match run.stage {
            Stage::Pausing(Clock::Running { ends_at }) | Stage::Soaking(Clock::Running { ends_at }) => Some(ends_at),
            Stage::Pausing(Clock::Stopped { .. }) | Stage::Soaking(Clock::Stopped { .. }) => None,
            // Measuring goes on, and an approval counts only while all passes; without a pause there is no gate.
            Stage::AwaitingApproval if run.pause_seconds() > 0 => Some(run.gate_ended_at),
            _ => return None,
        };
        let id = GateId { run: run.number, step: run.step, began_at: run.gate_began_at };
        Some(Self { run, gate, id, ends_at, background: false })
    }

    /// Whether its clock has ended.
    pub fn is_over(&self, now: Millis) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= now)
    }

    /// Until when too little evidence is no reason to say that the run holds.
    pub fn patience_ends_at(&self) -> Millis {
        self.id.began_at + i64::from(self.gate.pace.max_pause_seconds) * 1000
    }
}

/// A source that a rollout needs and can't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingSource {
    /// The configuration doesn't have it.
    Unknown {
        /// Its name; empty where the rollout names none and there is none at all.
        name: String,
        /// Names that are configured.
        known: Vec<String>,
    },
    /// It is named by an address that the configuration doesn't allow.
    NotAllowed {
        /// The address.
        address: Address,
        /// Origins that are allowed.
        allowed: Vec<String>,
    },
}

/// The source that a rollout needs and can't have. Without `analysis` it needs none: what happens then is
/// `gates.whenUnconfigured`. Which addresses are allowed is as the configuration says now, whatever a run has kept.
pub(crate) fn missing_source(rollout: &Rollout, settings: &GateSettings) -> Option<MissingSource> {
    let analysis = rollout.analysis.as_ref()?;
    if let Some(address) = &analysis.address {
        let allowed = settings.allowed_origins.iter().map(ToString::to_string).collect();
        return (!address.is_among(&settings.allowed_origins))
            .then(|| MissingSource::NotAllowed { address: address.clone(), allowed });
    }
    let named = Some(analysis).filter(|analysis| analysis.needs_source())?.source.clone();
    let known = settings.sources.clone();
    let is_there = named.as_ref().map_or(!known.is_empty(), |name| known.contains(name));
    (!is_there).then(|| MissingSource::Unknown { name: named.unwrap_or_default(), known })
}
