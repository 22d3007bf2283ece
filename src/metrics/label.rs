//! Bounded label values: a metric must not grow with what clients or scripts think of.

use std::collections::HashSet;

/// The value that stands for all beyond a label's bound.
pub const OTHER: &str = "other";

/// The values that one label has taken, at most so many.
#[derive(Clone, Debug)]
pub struct BoundedLabel {
    most: usize,
    known: HashSet<Box<str>>,
}

impl BoundedLabel {
    /// A label that takes `most` distinct values; the rest become [`OTHER`].
    pub fn new(most: usize) -> Self {
        Self { most, known: HashSet::new() }
    }

    /// `value`, if it is among the first.
    pub fn fold<'a>(&mut self, value: &'a str) -> &'a str {
        if self.known.contains(value) {
            return value;
        }
        if self.known.len() == self.most {
            return OTHER;
        }
        self.known.insert(value.into());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_keep_their_names() {
        let mut label = BoundedLabel::new(2);
        let folded = ["a", "b", "c", "a", "d"].map(|it| label.fold(it));
        assert_eq!(folded, ["a", "b", OTHER, "a", OTHER]);
    }
}
