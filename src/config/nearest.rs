//! The known word that someone probably meant.

/// The candidate nearest to `word`, when it is near enough to be a typing error.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?`, or nothing.
pub(super) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// How many characters have to be put in, left out, replaced, or swapped with their neighbour. Case counts
/// for nothing.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect();
    let to: Vec<char> = to.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, &ours) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &theirs) in to.iter().enumerate() {
            let replaced = above[column] + usize::from(ours != theirs);
            let mut best = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && ours == to[column - 1] && from[row - 1] == theirs && ours != theirs;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or_default()
}

/// Longest word that is compared; names are no longer.
const WORD_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, ["upstream", "issuer", "issuers", "path", "tools"]), expected, "{word}");
    }

    #[test]
    fn a_typing_error_finds_its_word() {
        check("upstraem", Some("upstream"));
        check("Upstream", Some("upstream"));
        check("upsteam", Some("upstream"));
        check("isuers", Some("issuers"));
        check("tool", Some("tools"));
        check("pth", Some("path"));
    }

    #[test]
    fn another_word_finds_nothing() {
        check("colour", None);
        check("x", None);
        check("", None);
    }
}
