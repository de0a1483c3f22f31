//! How far a measured share can be from the true one.

use crds::Confidence;

/// The Wilson score interval of a share of `good` in `total`, both ends in 0 to 1. It stays honest at shares near 1 and at
/// few requests, where the simple interval shrinks to a point: of 50 requests that all succeeded, the true share may
/// be 92.9% (Wilson, 1927).
pub(super) fn interval(good: f64, total: f64, confidence: Confidence) -> (f64, f64) {
    let z = quantile(confidence);
    let (share, z2) = (good / total, z * z);
    let scale = 1.0 + z2 / total;
    let center = (share + z2 / (2.0 * total)) / scale;
    let half = z * (share * (1.0 - share) / total + z2 / (4.0 * total * total)).sqrt() / scale;
    ((center - half).max(0.0), (center + half).min(1.0))
}

/// Of the standard normal distribution, for an interval with two ends.
fn quantile(confidence: Confidence) -> f64 {
    match confidence {
        Confidence::P90 => 1.644_853_626_951_472_2,
        Confidence::P95 => 1.959_963_984_540_054,
        Confidence::P99 => 2.575_829_303_548_900_4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method 3 in table I of Newcombe, "Two-sided confidence intervals for the single proportion", 1998.
    #[test]
    fn it_agrees_with_published_figures() {
        let cases = [
            (81.0, 263.0, 0.2553, 0.3662),
            (15.0, 148.0, 0.0624, 0.1605),
            (0.0, 20.0, 0.0, 0.1611),
            (1.0, 29.0, 0.0061, 0.1718),
        ];
        for (good, total, low, high) in cases {
            let (found_low, found_high) = interval(good, total, Confidence::P95);
            assert!((found_low - low).abs() < 5.1e-5, "{good} of {total}: {found_low} is not {low}");
            assert!((found_high - high).abs() < 5.1e-5, "{good} of {total}: {found_high} is not {high}");
        }
    }

    #[test]
    fn more_confidence_takes_a_wider_interval() {
        let wide = |confidence| {
            let (low, high) = interval(5.0, 10.0, confidence);
            high - low
        };
        assert!(wide(Confidence::P90) < wide(Confidence::P95) && wide(Confidence::P95) < wide(Confidence::P99));
    }
}
