//! Times as people write them: RFC 3339, dates, and how long ago.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a time: `2026-11-28T10:00:00Z`, `2026-11-28` (its beginning, UTC), or how long before now: `90s`, `15m`, `2h`, `7d`, `4w`.
/// In milliseconds since 1970 UTC, as in records.
///
/// # Errors
///
/// What is wrong with it, in a sentence for whoever wrote it.
pub fn parse_time(text: &str, now: Duration) -> Result<u64, &'static str> {
    const FORMS: &str = "a time is `2026-11-28T10:00:00Z`, `2026-11-28` (in UTC), or how long ago: `90s`, `15m`, `2h`, `7d`, `4w`";
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return milliseconds(time).ok_or(FORMS);
    }
    if let Some(day) =
        text.len().eq(&10).then(|| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
    {
        return day.ok().and_then(milliseconds).ok_or(FORMS);
    }
    let unit = text.chars().last().ok_or(FORMS)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(FORMS),
    };
    let count = &text[..text.len() - unit.len_utf8()];
    let is_number = !count.is_empty() && count.bytes().all(|digit| digit.is_ascii_digit());
    let count: u64 = count.parse().ok().filter(|_| is_number).ok_or(FORMS)?;
    let ago = count.checked_mul(seconds).and_then(|seconds| seconds.checked_mul(1_000)).ok_or(FORMS)?;
    Ok(u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_sub(ago))
}

fn milliseconds(time: OffsetDateTime) -> Option<u64> {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// A time in UTC, given in milliseconds since 1970: `2026-11-28T10:00:00.123Z`.
pub fn date_time(milliseconds: u64) -> String {
    let time = i128::from(milliseconds).checked_mul(1_000_000).map(OffsetDateTime::from_unix_timestamp_nanos);
    let Some(Ok(time)) = time else { return format!("{milliseconds} ms since 1970") };
    let (date, clock) = (time.date(), time.time());
    let (hour, minute, second, millisecond) = clock.as_hms_milli();
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1_795_341_600_123);

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let time = parse_time(text, NOW).ok().map(date_time);
        assert_eq!(time.as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_read_in_the_ways_people_write_them() {
        check("2026-11-28T10:00:00Z", Some("2026-11-28T10:00:00.000Z"));
        check("2026-11-28T10:00:00.5+02:00", Some("2026-11-28T08:00:00.500Z"));
        check("2026-02-28", Some("2026-02-28T00:00:00.000Z"));
        check("0s", Some(&date_time(1_795_341_600_123)));
        check("2h", Some(&date_time(1_795_341_600_123 - 7_200_000)));
        check("7d", Some(&date_time(1_795_341_600_123 - 604_800_000)));
        check("90000w", Some("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "h",
            "2",
            "-2h",
            "+2h",
            "2y",
            "2026-13-01",
            "2026-02-30",
            "28.11.2026",
            "10:00",
            "2é",
            "1969-12-31",
        ] {
            check(text, None);
        }
        check("99999999999999999999d", None);
        check("9999999999999999999w", None);
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_shown() {
        assert_eq!(date_time(u64::MAX), "18446744073709551615 ms since 1970");
    }
}
