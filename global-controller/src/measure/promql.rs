//! Whether a query is one at all, and how far back it looks.

use std::time::Duration;

use promql_parser::parser::{self, Expr, Offset};
use rollout_core::{Concern, Problem, RateRule, Rollout, Rule, Template};

/// What is wrong with the queries of a rollout, which core, that knows no PromQL, has found valid.
pub(crate) fn problems(rollout: &Rollout) -> Vec<Problem> {
    let Some(analysis) = &rollout.analysis else { return Vec::new() };
    let metrics = analysis.metrics.iter().enumerate().filter_map(|(index, metric)| match &metric.rule {
        Rule::Values { query, .. } => Some((format!("metrics[{index}].query"), query)),
        Rule::SuccessRate { .. } | Rule::Drop { .. } => None,
    });
    let rate = match &analysis.success_rate {
        Some(RateRule { queries: Some((good, total)), .. }) => vec![("good", good), ("total", total)],
        _ => Vec::new(),
    };
    let rate = rate.into_iter().map(|(name, query)| (format!("successRate.{name}"), query));
    rate.chain(metrics).filter_map(|(field, query)| problem(&format!("spec.analysis.{field}"), query)).collect()
}

/// What is wrong with one query, asked of a member that doesn't exist.
pub(crate) fn problem(field: &str, query: &Template) -> Option<Problem> {
    let error = lookback(&query.sample()).err()?;
    let message = format!("must be PromQL: {error}");
    Some(Problem { field: field.to_owned(), value: query.as_str().to_owned(), message, concern: Concern::Field })
}

/// How far back from the moment that it is asked about a query looks; its ranges, offsets and subqueries add up. A plain
/// selector looks back at nothing: it means the present value. A range that is moved to a fixed moment (`@`) is as far
/// back as one can be. The error says what is wrong with the query.
pub(super) fn lookback(query: &str) -> Result<Duration, String> {
    parser::parse(query).map(|expression| of_expression(&expression))
}

fn of_expression(expression: &Expr) -> Duration {
    match expression {
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.param.as_ref().map_or(Duration::ZERO, |parameter| of_expression(parameter));
            of_expression(&aggregate.expr).max(parameter)
        }
        Expr::Unary(unary) => of_expression(&unary.expr),
        Expr::Binary(binary) => of_expression(&binary.lhs).max(of_expression(&binary.rhs)),
        Expr::Paren(paren) => of_expression(&paren.expr),
        Expr::Subquery(subquery) => {
            let fixed = subquery.at.is_some();
            moved(of_expression(&subquery.expr).saturating_add(subquery.range), subquery.offset.as_ref(), fixed)
        }
        Expr::VectorSelector(selector) => moved(Duration::ZERO, selector.offset.as_ref(), selector.at.is_some()),
        Expr::MatrixSelector(matrix) => moved(matrix.range, matrix.vs.offset.as_ref(), matrix.vs.at.is_some()),
        Expr::Call(call) => call.args.args.iter().map(|argument| of_expression(argument)).max().unwrap_or_default(),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Duration::ZERO,
    }
}

fn moved(back: Duration, offset: Option<&Offset>, fixed: bool) -> Duration {
    match offset {
        _ if fixed => Duration::MAX,
        Some(Offset::Pos(offset)) => back.saturating_add(*offset),
        Some(Offset::Neg(offset)) => back.saturating_sub(*offset),
        None => back,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn semantics_25_ranges_offsets_and_subqueries_add_up() {
        let cases = [
            ("up", 0),
            ("sum(increase(http_requests_total{cluster=\"m1\",code!~\"5..\"}[90s])) or vector(0)", 90),
            ("rate(a[5m]) / rate(b[1h])", 3600),
            ("a offset 10m", 600),
            ("rate(a[5m] offset 1m)", 360),
            ("max_over_time(rate(a[1m])[10m:30s])", 660),
            ("histogram_quantile(0.99, sum by (le) (rate(b_bucket[2m])))", 120),
            ("-(rate(a[5m] offset -1m))", 240),
            ("quantile(scalar(rate(q[7m])), a)", 420),
        ];
        for (query, seconds) in cases {
            assert_eq!(lookback(query).unwrap(), Duration::from_secs(seconds), "{query}");
        }
        assert_eq!(lookback("rate(a[1m] @ 1609746000)").unwrap(), Duration::MAX);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for query in ["", "sum(", "rate(a)", "a[5m", "foo(bar)", "1 +"] {
            assert!(lookback(query).is_err(), "{query} was accepted");
        }
    }
}
