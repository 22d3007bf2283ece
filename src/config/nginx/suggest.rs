//! The word that was probably meant.

/// The candidate nearest to `word`: at most a third of its letters, and no more than three, wrong.
/// Two neighbours swapped are one fault.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (word.len() / 3).clamp(1, 3);
    candidates
        .filter(|it| it.len().abs_diff(word.len()) <= most)
        .map(|it| (distance(word.as_bytes(), it.as_bytes()), it))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, it)| it)
}

fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_word() {
        let words = ["proxy_pass", "proxy_set_header", "set", "listen"];
        let suggest = |word| nearest(word, words.into_iter());
        assert_eq!(suggest("proxy_pas"), Some("proxy_pass"));
        assert_eq!(suggest("porxy_set_haeder"), Some("proxy_set_header"));
        assert_eq!(suggest("lsiten"), Some("listen"));
        assert_eq!(suggest("banana"), None);
        assert_eq!(suggest(""), None);
    }
}
