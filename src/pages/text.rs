//! Text from outside, made fit to be read: what agents, connectors and servers call themselves.
//!
//! Templates escape it for HTML. Here it is bounded, and loses what would make it look like something else.

/// Most characters of a name.
pub const NAME_CHARS_MAX: usize = 80;
/// Most entries of a list.
pub const LIST_MAX: usize = 24;

/// `text` without what cannot be seen or turns the direction of reading, and cut where it is longer than `chars_max`.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut characters = text.chars().filter(|character| is_seen(*character));
    let mut shown: String = characters.by_ref().take(chars_max).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    match shown.trim() {
        "" => "(no name)".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// The first of `texts`, each made fit to be read, and how many more there are.
pub fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> (Vec<String>, usize) {
    let mut texts = texts.into_iter();
    let first = texts.by_ref().take(LIST_MAX).map(|text| shown(text, NAME_CHARS_MAX)).collect();
    (first, texts.count())
}

fn is_seen(character: char) -> bool {
    // Zero width, and marks that turn the direction of what follows (UAX 9): one before `gro.elpmaxe` has it read as another name.
    !character.is_control()
        && !matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A time of the wall clock, in seconds since 1970 UTC, to the minute.
pub fn time(unix_seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(unix_seconds));
    // `Sat, 28 Nov 2026 22:47:26 GMT` (RFC 9110 section 5.6.7); it has no form for years beyond 9999.
    let Some(time) = time.filter(|_| unix_seconds < 253_402_300_800) else { return "unknown".to_owned() };
    let date = httpdate::fmt_http_date(time);
    match (date.get(5..16), date.get(17..22)) {
        (Some(day), Some(minute)) => format!("{day}, {minute} UTC"),
        (Some(_) | None, _) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_and_reads_as_it_is() {
        assert_eq!(shown("Planner <b>", 80), "Planner <b>");
        assert_eq!(shown("\u{202e}gro.elpmaxe\u{200b}\n", 80), "gro.elpmaxe");
        assert_eq!(shown(&"é".repeat(100), 80), format!("{}…", "é".repeat(80)));
        assert_eq!(shown("\u{200b} \u{feff}", 80), "(no name)");
        assert_eq!(list(["b", "a"]), (vec!["b".to_owned(), "a".to_owned()], 0));
        assert_eq!(list(std::iter::repeat_n("a", LIST_MAX + 3)).1, 3);
    }

    #[test]
    fn a_time_is_written_for_people() {
        assert_eq!(time(1_795_906_046), "28 Nov 2026, 22:47 UTC");
        assert_eq!(time(u64::MAX), "unknown");
    }
}
