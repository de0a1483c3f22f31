//! A fake Prometheus: it answers what a test says, and that all is well otherwise.

use crds::GateMode;
use rollout_core::{Answer, Ask, DefaultRate, GateSettings, Sample, SampleKey, measurements_due};

use super::World;

/// No source is configured.
pub fn unconfigured(mode: GateMode) -> GateSettings {
    let query = |text: &str| text.parse().expect("a template");
    GateSettings {
        when_unconfigured: mode,
        sources: Vec::new(),
        success_rate: DefaultRate {
            minimum: "99.5%".parse().expect("a percentage"),
            good: query("good{cluster=\"{{cluster}}\"}[{{window}}]"),
            total: query("total{cluster=\"{{cluster}}\"}[{{window}}]"),
            min_requests: 100,
        },
    }
}

/// Two sources, of which the first is the default.
pub fn configured() -> GateSettings {
    GateSettings { sources: vec!["central".to_owned(), "other".to_owned()], ..unconfigured(GateMode::Hold) }
}

pub fn key(metric: &str, member: Option<&str>) -> SampleKey {
    SampleKey { metric: metric.to_owned(), member: member.map(str::to_owned) }
}

/// So many requests of a thousand succeed.
pub fn of_thousand(good: f64) -> Vec<Answer> {
    vec![Answer::Values(vec![good]), Answer::Values(vec![1000.0])]
}

pub fn one(value: f64) -> Vec<Answer> {
    vec![Answer::Values(vec![value])]
}

/// Nothing was asked of members: there is no series at all.
pub fn silence() -> Vec<Answer> {
    vec![Answer::Values(vec![]), Answer::Values(vec![])]
}

impl World {
    /// From now on Prometheus says this of a series.
    pub fn says(&mut self, metric: &str, member: Option<&str>, answers: Vec<Answer>) {
        self.said.insert(key(metric, member), answers);
    }

    pub fn due(&self) -> rollout_core::Asked {
        measurements_due(&self.state, &self.observations(), self.now)
    }

    /// Takes all measurements that are due, as text.
    pub fn measure(&mut self) -> Vec<String> {
        let asks = self.due().asks;
        let mut lines = Vec::new();
        for ask in &asks {
            let sample = self.sample(ask);
            lines.push(format!("{}: {} {}", ask.key, sample.verdict.as_str(), sample.found));
            self.samples.insert(ask.key.clone(), sample);
        }
        lines
    }

    fn sample(&self, ask: &Ask) -> Sample {
        let well = || if ask.queries.len() == 2 { of_thousand(1000.0) } else { one(0.1) };
        let answers = self.said.get(&ask.key).cloned().unwrap_or_else(well);
        ask.answered(self.samples.get(&ask.key), &answers)
    }

    /// Lets so many seconds pass, second by second, in which everything is measured and decided when it is due.
    pub fn pass(&mut self, seconds: i64) -> Vec<String> {
        let mut lines = self.rest();
        for _ in 0..seconds {
            self.advance(1);
            self.measure();
            lines.extend(self.rest());
        }
        lines
    }
}
