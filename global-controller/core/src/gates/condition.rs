//! What the answer to a query must be: comparisons with numbers, joined by `&&`.

use std::fmt;

use super::as_text::as_text;

/// A condition over the series of an answer, for example `value < 0.25` or `max <= 3 && count >= 2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// As it was written; equal texts are equal conditions.
    text: String,
    comparisons: Vec<Comparison>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    subject: Subject,
    operator: Operator,
    /// As it was written: a valid, finite number.
    number: String,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// That of the only series.
    Value,
    Min,
    Max,
    Sum,
    Avg,
    Count,
}

const SUBJECTS: [(&str, Subject); 6] = [
    ("value", Subject::Value),
    ("min", Subject::Min),
    ("max", Subject::Max),
    ("sum", Subject::Sum),
    ("avg", Subject::Avg),
    ("count", Subject::Count),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

/// Longer ones first: `<=` begins as `<` does.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Less),
    (">", Operator::More),
];

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseConditionError(String);

impl fmt::Display for ParseConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" must be value, min, max, sum, avg or count, then <, <=, >, >=, == or !=, then a number, as in \"value < 0.25\"; join several with &&",
            self.0
        )
    }
}

impl std::error::Error for ParseConditionError {}

impl std::str::FromStr for Condition {
    type Err = ParseConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let comparison =
            |part: &str| Comparison::parse(part).ok_or_else(|| ParseConditionError(part.trim().to_owned()));
        let comparisons = text.split("&&").map(comparison).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), comparisons })
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let found = OPERATORS.iter().filter_map(|(sign, operator)| Some((text.find(sign)?, sign, operator)));
        // The first sign in the text; of two that begin there the longer one, which comes first.
        let (at, sign, operator) = found.min_by_key(|(at, ..)| *at)?;
        let (subject, number) = (text.get(..at)?.trim(), text.get(at + sign.len()..)?.trim());
        let (_, subject) = SUBJECTS.iter().find(|(name, _)| *name == subject)?;
        number.parse::<f64>().ok().filter(|number| number.is_finite())?;
        Some(Self { subject: *subject, operator: *operator, number: number.to_owned() })
    }

    #[allow(clippy::float_cmp)] // Whoever writes == means it: counts are exact.
    fn holds(&self, values: &[f64]) -> bool {
        // Checked when it was parsed.
        let number = self.number.parse().unwrap_or(f64::NAN);
        let value = self.subject.of(values);
        match self.operator {
            Operator::Less => value < number,
            Operator::AtMost => value <= number,
            Operator::More => value > number,
            Operator::AtLeast => value >= number,
            Operator::Equal => value == number,
            Operator::Unequal => value != number,
        }
    }
}

impl Subject {
    /// Of finite numbers, at least one.
    fn of(self, values: &[f64]) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Series that fit into an answer are far fewer than 2^52.
        let count = values.len() as f64;
        match self {
            Self::Value => values.first().copied().unwrap_or(f64::NAN),
            Self::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Sum => values.iter().sum(),
            Self::Avg => values.iter().sum::<f64>() / count,
            Self::Count => count,
        }
    }
}

impl Condition {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it speaks of the only series.
    pub(super) fn wants_one_series(&self) -> bool {
        self.comparisons.iter().any(|comparison| comparison.subject == Subject::Value)
    }

    /// Whether these, finite and at least one, meet it.
    pub(super) fn holds(&self, values: &[f64]) -> bool {
        self.comparisons.iter().all(|comparison| comparison.holds(values))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

as_text!(Condition);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_condition_is_met_or_not() {
        let cases: [(&str, &[f64], bool); 14] = [
            ("value < 0.25", &[0.2], true),
            ("value < 0.25", &[0.25], false),
            ("value<=0.25", &[0.25], true),
            ("value > -1e-3", &[0.0], true),
            ("value >= 3", &[2.999], false),
            ("value == 0", &[-0.0], true),
            ("value != 0", &[0.0], false),
            ("max <= 3 && count >= 2", &[1.0, 3.0], true),
            ("max <= 3 && count >= 2", &[1.0], false),
            ("max <= 3 && count >= 2", &[1.0, 4.0], false),
            ("min > 0", &[1.0, 0.0], false),
            ("sum == 6", &[1.0, 2.0, 3.0], true),
            ("avg == 2", &[1.0, 2.0, 3.0], true),
            ("count == 1", &[7.0], true),
        ];
        for (text, values, met) in cases {
            assert_eq!(text.parse::<Condition>().unwrap().holds(values), met, "{text} of {values:?}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "value",
            "value <",
            "< 3",
            "value < x",
            "value < 1 &&",
            "value =< 1",
            "value < NaN",
            "value < inf",
            "p99 < 1",
            "value < 1 || value > 2",
            "value < 1 < 2",
        ] {
            let error = text.parse::<Condition>().unwrap_err().to_string();
            assert!(error.contains("as in \"value < 0.25\""), "{text}: {error}");
        }
    }
}
