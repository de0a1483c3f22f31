//! A fake Prometheus: it answers what a test says, and that all is well otherwise.

use crds::GateMode;
use rollout_core::{Answer, Ask, DefaultRate, GateSettings, Millis, Sample, SampleKey, measurements_due};

use super::World;

/// No source is configured.
pub fn unconfigured(mode: GateMode) -> GateSettings {
    let query = |text: &str| text.parse().expect("a template");
    GateSettings {
        when_unconfigured: mode,
        sources: Vec::new(),
        allowed_origins: Vec::new(),
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

/// Four members, m1 to m4, two of them canaries with a pause of so many seconds; any number may be in flux, there is no soak,
/// and sources are configured. Without an analysis the text is empty.
pub fn canaries(pause: u32, analysis: &str) -> World {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], &format!("[{{setWeight: 50, pause: {pause}}}]"));
    world.edit(|spec| {
        spec.max_concurrency = Some("4".to_owned());
        spec.soak_seconds = Some(0);
        spec.analysis = (!analysis.is_empty()).then(|| analysis.to_owned());
    });
    world.gates = configured();
    world
}

pub fn key(metric: &str, member: Option<&str>) -> SampleKey {
    SampleKey { metric: metric.to_owned(), member: member.map(str::to_owned), background: false }
}

/// The same series of the background.
pub fn background(metric: &str, member: Option<&str>) -> SampleKey {
    SampleKey { background: true, ..key(metric, member) }
}

/// So many requests of a thousand succeed.
pub fn of_thousand(good: f64) -> Vec<Answer> {
    vec![Answer::Values(vec![good]), Answer::Values(vec![1000.0])]
}

pub fn one(value: f64) -> Vec<Answer> {
    vec![Answer::Values(vec![value])]
}

/// Requests to a member, spread evenly.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    from: Millis,
    per_second: f64,
    failing: f64,
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

    /// From now on so many requests a second reach each of these members, of which this part fails.
    pub fn serve(&mut self, members: &[&str], per_second: f64, failing: f64) {
        for member in members {
            let from = self.now;
            self.traffic.entry((*member).to_owned()).or_default().push(Traffic { from, per_second, failing });
        }
    }

    /// What the queries of the configuration find where members have traffic: exactly what is in their window.
    fn counted(&self, query: &str, at: Millis) -> Option<Answer> {
        let (what, rest) = query.split_once("{cluster=\"")?;
        let (member, window) = rest.split_once("\"}[")?;
        let window: Millis = window.strip_suffix("s]")?.parse().ok()?;
        if self.traffic.is_empty() {
            return None;
        }
        let Some(traffic) = self.traffic.get(member) else { return Some(Answer::Values(vec![])) };
        let ends = traffic.iter().skip(1).map(|next| next.from).chain([at]);
        let of = |(one, end): (&Traffic, Millis)| {
            let millis = (end.min(at) - one.from.max(at - window * 1000)).max(0);
            let part = if what == "good" { 1.0 - one.failing } else { 1.0 };
            f64::from(u32::try_from(millis).expect("a short window")) / 1000.0 * one.per_second * part
        };
        Some(Answer::Values(vec![traffic.iter().zip(ends).map(of).sum()]))
    }

    pub fn due(&self) -> rollout_core::Asked {
        measurements_due(&self.state, &self.observations(), self.now)
    }

    /// Takes all measurements that are due, as text.
    pub fn measure(&mut self) -> Vec<String> {
        let asks = self.due().asks;
        let mut lines = Vec::new();
        for ask in &asks {
            for (key, sample) in self.sampled(ask) {
                lines.push(format!("{key}: {} {}", sample.verdict.as_str(), sample.found));
                self.samples.insert(key, sample);
            }
        }
        lines
    }

    fn sampled(&self, ask: &Ask) -> Vec<(SampleKey, Sample)> {
        let well = || if ask.queries.len() == 2 { of_thousand(1000.0) } else { one(0.1) };
        let counted = || ask.queries.iter().map(|query| self.counted(&query.text, ask.at)).collect::<Option<Vec<_>>>();
        let said = SampleKey { background: false, ..ask.key.clone() };
        let answers = self.said.get(&said).cloned().or_else(counted).unwrap_or_else(well);
        ask.answered(&self.samples, &answers)
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
