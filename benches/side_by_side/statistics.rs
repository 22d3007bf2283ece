//! Medians, and how far they can be trusted.

/// The median; NaN of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

/// The 95 % interval of the median, by resampling; the same values give the same interval.
pub fn bootstrap(values: &[f64]) -> (f64, f64) {
    const RESAMPLES: usize = 4000;
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[(state % values.len() as u64) as usize]
    };
    let mut medians: Vec<f64> =
        (0..RESAMPLES).map(|_| median((0..values.len()).map(|_| draw()))).collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLES / 40], medians[RESAMPLES - RESAMPLES / 40 - 1])
}
