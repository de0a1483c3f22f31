//! One question about several members, made of a query that asks about one of them.
//!
//! `sum(increase(requests{cluster="{{member}}"}[60s]))` becomes `sum by (cluster) (increase(requests{cluster=~"a|b"}[60s]))`, and
//! each member's answer is what carries its name. That is only done where it yields for each member exactly what its own
//! question would have: every selector names the member by the same label, and nothing on the way to the result takes that
//! label away or tells it from the others. Any other query stays one for each member.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prometheus_asker::Labels;
use promql_parser::label::{Labels as Names, MatchOp, Matcher};
use promql_parser::parser::token::{T_EQL_REGEX, T_LOR};
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, ParenExpr, SubqueryExpr, UnaryExpr,
    VectorMatchCardinality, VectorMatchFillValues, VectorSelector,
};
use rollout_core::MEMBER_MARK;

/// Functions that yield one series for each that they are given, with its labels, without a look at the others; or, of
/// `histogram_quantile`, one for each histogram.
const KEEPS_LABELS: [&str; 38] = [
    "abs",
    "avg_over_time",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "count_over_time",
    "delta",
    "deriv",
    "exp",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_quantile",
    "histogram_sum",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "max_over_time",
    "min_over_time",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rate",
    "resets",
    "round",
    "sgn",
    "sqrt",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "timestamp",
    "histogram_fraction",
];
/// Aggregations whose result depends on the values of a group alone.
const AGGREGATES: [&str; 9] = ["avg", "count", "group", "max", "min", "quantile", "stddev", "stdvar", "sum"];

/// A question about several members.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    /// The query.
    pub query: String,
    /// The label that tells whose a series is.
    label: String,
    /// What a member has that has no series: that of `or vector(…)`.
    otherwise: Option<f64>,
}

impl Batch {
    /// The question about members whom these values name, made of a query with the mark in it. `None`: it has to be asked
    /// of each.
    pub(super) fn of(marked: &str, values: &[&str]) -> Option<Self> {
        let pattern = pattern(values)?;
        let (expression, otherwise) = split(parser::parse(marked).ok()?);
        let mut rewrite = Rewrite { pattern, label: None };
        let (rewritten, kind) = rewrite.expression(expression)?;
        let label = rewrite.label?;
        // A number that is there whether or not the rest is would be a second series beside it.
        if kind == Kind::Number || (otherwise.is_some() && kind != Kind::Alone) {
            return None;
        }
        let query = rewritten.to_string();
        // What the parser's own words don't say faithfully is not asked.
        let same = !query.contains(MEMBER_MARK) && parser::parse(&query).is_ok_and(|again| again == rewritten);
        same.then_some(Self { query, label, otherwise })
    }

    /// Each member's part of the answer, by the value that names it, without that label; those without series are not in it.
    pub(super) fn split(&self, series: Vec<(Labels, f64)>) -> BTreeMap<String, Vec<(Labels, f64)>> {
        let mut parts: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
        for (mut labels, value) in series {
            let name = labels.remove(&self.label).unwrap_or_default();
            parts.entry(name).or_default().push((labels, value));
        }
        parts
    }

    /// The part of a member without series.
    pub(super) fn none(&self) -> Vec<(Labels, f64)> {
        self.otherwise.map(|number| (Labels::new(), number)).into_iter().collect()
    }
}

/// A regular expression for these values. Only what can stand in names and labels of Kubernetes: nothing else is told
/// apart from the language of the pattern.
fn pattern(values: &[&str]) -> Option<String> {
    let mut pattern = String::new();
    for (index, value) in values.iter().enumerate() {
        if value.is_empty() || !value.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char)) {
            return None;
        }
        let separator = if index == 0 { "" } else { "|" };
        let _ = write!(pattern, "{separator}{}", value.replace('.', "[.]"));
    }
    (!pattern.is_empty()).then_some(pattern)
}

/// The expression without an `or vector(…)` around it, and that number.
fn split(expression: Expr) -> (Expr, Option<f64>) {
    match expression {
        Expr::Paren(paren) => split(*paren.expr),
        Expr::Binary(BinaryExpr { op, lhs, rhs, modifier }) if op.id() == T_LOR && is_plain(modifier.as_ref()) => {
            match constant_vector(&rhs) {
                Some(number) => (*lhs, Some(number)),
                None => (Expr::Binary(BinaryExpr { op, lhs, rhs, modifier }), None),
            }
        }
        other => (other, None),
    }
}

fn is_plain(modifier: Option<&BinModifier>) -> bool {
    modifier.is_none_or(|modifier| modifier.matching.is_none())
}

fn constant_vector(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::Paren(paren) => constant_vector(&paren.expr),
        Expr::Call(call) if call.func.name == "vector" => match call.args.args.as_slice() {
            [argument] => match argument.as_ref() {
                Expr::NumberLiteral(number) => Some(number.val),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// What an expression yields for one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The same number for all.
    Number,
    /// One series at most, which has no labels but the one that names the member.
    Alone,
    /// Series with labels of their own.
    Labelled,
}

struct Rewrite {
    pattern: String,
    /// The label that names the member, as soon as one selector has said it.
    label: Option<String>,
}

/// `None` everywhere: one question about several members would not yield what one about each does.
impl Rewrite {
    fn expression(&mut self, expression: Expr) -> Option<(Expr, Kind)> {
        match expression {
            Expr::NumberLiteral(_) => Some((expression, Kind::Number)),
            Expr::VectorSelector(selector) => Some((Expr::VectorSelector(self.selector(selector)?), Kind::Labelled)),
            Expr::MatrixSelector(mut matrix) => {
                matrix.vs = self.selector(matrix.vs)?;
                Some((Expr::MatrixSelector(matrix), Kind::Labelled))
            }
            Expr::Paren(ParenExpr { expr }) => {
                let (expr, kind) = self.boxed(*expr)?;
                Some((Expr::Paren(ParenExpr { expr }), kind))
            }
            Expr::Unary(UnaryExpr { expr }) => {
                let (expr, kind) = self.boxed(*expr)?;
                Some((Expr::Unary(UnaryExpr { expr }), kind))
            }
            Expr::Subquery(SubqueryExpr { expr, offset, at, range, step }) => {
                let (expr, kind) = self.boxed(*expr)?;
                Some((Expr::Subquery(SubqueryExpr { expr, offset, at, range, step }), kind))
            }
            Expr::Call(call) => self.call(call),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::StringLiteral(_) | Expr::Extension(_) => None,
        }
    }

    fn boxed(&mut self, expression: Expr) -> Option<(Box<Expr>, Kind)> {
        self.expression(expression).map(|(expression, kind)| (Box::new(expression), kind))
    }

    /// A selector that names the member by one label, the same as all others.
    fn selector(&mut self, mut selector: VectorSelector) -> Option<VectorSelector> {
        if !selector.matchers.or_matchers.is_empty() {
            return None;
        }
        let mut marked = selector.matchers.matchers.iter_mut().filter(|matcher| matcher.value.contains(MEMBER_MARK));
        let (one, more) = (marked.next()?, marked.next());
        let names = one.op == MatchOp::Equal && one.value == MEMBER_MARK && !one.name.starts_with("__");
        if !names || more.is_some() || self.label.as_ref().is_some_and(|label| *label != one.name) {
            return None;
        }
        *one = Matcher::new_matcher(T_EQL_REGEX, one.name.clone(), self.pattern.clone()).ok()?;
        self.label = Some(one.name.clone());
        // As they are written out, or what is read again would seem to be another query.
        selector.matchers.matchers.sort_by_cached_key(ToString::to_string);
        Some(selector)
    }

    fn call(&mut self, mut call: Call) -> Option<(Expr, Kind)> {
        if matches!(call.func.name, "time" | "pi") {
            return Some((Expr::Call(call), Kind::Number));
        }
        if !KEEPS_LABELS.contains(&call.func.name) {
            return None;
        }
        let mut found = None;
        for argument in &mut call.args.args {
            let (expression, kind) = self.boxed((**argument).clone())?;
            if kind != Kind::Number && found.replace(kind).is_some() {
                return None;
            }
            *argument = expression;
        }
        Some((Expr::Call(call), found?))
    }

    fn aggregate(&mut self, aggregate: AggregateExpr) -> Option<(Expr, Kind)> {
        let AggregateExpr { op, expr, param, modifier } = aggregate;
        if !AGGREGATES.contains(&op.to_string().as_str()) {
            return None;
        }
        let param = match param {
            Some(param) => match self.boxed(*param)? {
                (param, Kind::Number) => Some(param),
                _ => return None,
            },
            None => None,
        };
        let (expr, inner) = self.boxed(*expr)?;
        if inner == Kind::Number {
            return None;
        }
        let label = self.label.clone()?;
        let (modifier, kind) = match modifier {
            None => (LabelModifier::Include(Names { labels: vec![label] }), Kind::Alone),
            Some(LabelModifier::Include(names)) => {
                let kind = if names.is_empty() { Kind::Alone } else { Kind::Labelled };
                (LabelModifier::Include(with(names, label)), kind)
            }
            Some(LabelModifier::Exclude(names)) if !names.labels.contains(&label) => {
                (LabelModifier::Exclude(names), Kind::Labelled)
            }
            Some(LabelModifier::Exclude(_)) => return None,
        };
        Some((Expr::Aggregate(AggregateExpr { op, expr, param, modifier: Some(modifier) }), kind))
    }

    fn binary(&mut self, binary: BinaryExpr) -> Option<(Expr, Kind)> {
        let BinaryExpr { op, lhs, rhs, modifier } = binary;
        let (lhs, left) = self.boxed(*lhs)?;
        let (rhs, right) = self.boxed(*rhs)?;
        let whole = |modifier| Expr::Binary(BinaryExpr { op, lhs, rhs, modifier });
        let kind = match (left, right) {
            (Kind::Number, other) | (other, Kind::Number) => return Some((whole(modifier), other)),
            (Kind::Alone, Kind::Alone) => Kind::Alone,
            _ => Kind::Labelled,
        };
        let Some(mut modifier) = modifier else { return Some((whole(None), kind)) };
        let label = self.label.clone()?;
        let copies = modifier.card.labels().is_some_and(|names| names.labels.contains(&label));
        if copies || modifier.fill_values != VectorMatchFillValues::default() {
            return None;
        }
        let one_to_one = modifier.card == VectorMatchCardinality::OneToOne;
        let kind = match &modifier.matching {
            Some(LabelModifier::Exclude(names)) if names.labels.contains(&label) => return None,
            Some(LabelModifier::Include(names)) if names.is_empty() && one_to_one => Kind::Alone,
            Some(_) => Kind::Labelled,
            None => kind,
        };
        if let Some(LabelModifier::Include(names)) = modifier.matching {
            modifier.matching = Some(LabelModifier::Include(with(names, label)));
        }
        Some((whole(Some(modifier)), kind))
    }
}

/// These names, and this one.
fn with(mut names: Names, label: String) -> Names {
    if !names.labels.contains(&label) {
        names.labels.push(label);
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(marked: &str) -> Option<String> {
        Batch::of(&marked.replace('$', MEMBER_MARK), &["a", "b.c"]).map(|batch| batch.query)
    }

    #[test]
    fn the_labels_of_a_query_may_come_in_any_order() {
        for (window, code) in [("5s", ""), ("88s", r#",code!~"5..""#), ("10m", r#",a="b""#)] {
            let query =
                format!(r#"sum(increase(n{{cluster="{{{{member}}}}",workload="w",namespace="s"{code}}}[{window}]))"#);
            assert!(Batch::of(&query, &["a", "b"]).is_some(), "{query}");
        }
    }

    #[test]
    fn the_label_is_kept_wherever_others_are_put_together() {
        for (marked, expected) in [
            (
                r#"sum(increase(n{c="$",code!~"5.."}[60s]))"#,
                r#"sum by (c) (increase(n{c=~"a|b[.]c",code!~"5.."}[1m]))"#,
            ),
            (r#"sum(n{c="$"}) / sum(m{c="$"})"#, r#"sum by (c) (n{c=~"a|b[.]c"}) / sum by (c) (m{c=~"a|b[.]c"})"#),
            (
                r#"histogram_quantile(0.99, sum by (le) (rate(b_bucket{c="$"}[5m])))"#,
                r#"histogram_quantile(0.99, sum by (le, c) (rate(b_bucket{c=~"a|b[.]c"}[5m])))"#,
            ),
            (r#"n{c="$"} / on (x) m{c="$"}"#, r#"n{c=~"a|b[.]c"} / on (x, c) m{c=~"a|b[.]c"}"#),
            (r#"1 - avg without (pod) (n{c="$"})"#, r#"1 - avg without (pod) (n{c=~"a|b[.]c"})"#),
            (r#"time() - max(n{c="$"})"#, r#"time() - max by (c) (n{c=~"a|b[.]c"})"#),
            (r#"n{c="$"}"#, r#"n{c=~"a|b[.]c"}"#),
        ] {
            assert_eq!(query(marked).as_deref(), Some(expected), "{marked}");
        }
    }

    #[test]
    fn what_would_yield_something_else_is_asked_of_each() {
        for marked in [
            r#"sum(n{c="$"}) / sum(m)"#,
            r#"sum(n{c=~"$"})"#,
            r#"sum(n{c="x-$"})"#,
            r#"sum(n{c="$"}) + sum(n{d="$"})"#,
            r#"sum(n{c="$",d="$"})"#,
            r#"{__name__="$"}"#,
            r#"topk(3, n{c="$"})"#,
            r#"count_values("c", n{c="$"})"#,
            r#"absent(n{c="$"})"#,
            r#"scalar(n{c="$"})"#,
            r#"sum without (c) (n{c="$"})"#,
            r#"n{c="$"} / ignoring (c) m{c="$"}"#,
            r#"label_replace(n{c="$"}, "c", "z", "", "")"#,
            // A number beside series with labels is a series more; within, it is there for one and not for the others.
            r#"n{c="$"} or vector(0)"#,
            r#"(sum(n{c="$"}) or vector(0)) / sum(m{c="$"})"#,
            "vector(1)",
            "sum(n",
        ] {
            assert_eq!(query(marked), None, "{marked}");
        }
        assert_eq!(Batch::of(r#"n{c="{{member}}"}"#, &["a", ""]), None, "without the label");
        assert_eq!(Batch::of(r#"n{c="{{member}}"}"#, &["a|b"]), None, "a value that is a pattern");
    }

    #[test]
    fn a_member_without_series_has_the_number_that_was_written_for_it() {
        let batch = Batch::of(r#"sum(n{c="{{member}}"}) or vector(0)"#, &["a", "b"]).unwrap();
        assert_eq!(batch.query, r#"sum by (c) (n{c=~"a|b"})"#);
        let of = |name: &str| Labels::from([("c".to_owned(), name.to_owned())]);
        let parts = batch.split(vec![(of("a"), 1.0), (of("b"), 2.0)]);
        let alone = |value: f64| vec![(Labels::new(), value)];
        assert_eq!(parts, BTreeMap::from([("a".to_owned(), alone(1.0)), ("b".to_owned(), alone(2.0))]));
        assert_eq!(batch.none(), alone(0.0));
    }
}
