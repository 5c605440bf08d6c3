//! Wall-clock seconds and the ways the wire writes them. No date library: the calendar is one small function.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;

/// Seconds since 1970, as claims count them.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `Sun, 22 Nov 2026 10:00:00 GMT`, as `Date` and `Retry-After` have it (RFC 9110 section 5.6.7).
pub fn http_date(seconds: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = date(seconds);
    let weekday =
        WEEKDAYS[usize::from(u8::try_from(seconds.div_euclid(DAY_SECONDS).rem_euclid(7)).unwrap_or(0))];
    let month = MONTHS[usize::from(month - 1)];
    format!("{weekday}, {day:02} {month} {year:04} {} GMT", time_of_day(seconds))
}

/// `2026-11-22T10:00:00Z`, as Graph has it.
pub fn rfc3339(seconds: i64) -> String {
    let (year, month, day) = date(seconds);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time_of_day(seconds))
}

/// `2026-11-22 10:00:00Z`, as Entra's error bodies have it.
pub fn entra_timestamp(seconds: i64) -> String {
    rfc3339(seconds).replace('T', " ")
}

/// Year, month and day of a moment, in UTC.
pub fn date(seconds: i64) -> (i32, u8, u8) {
    // Counting years from 1 March puts the leap day last, so that no step needs a special case.
    let days = seconds.div_euclid(DAY_SECONDS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        i32::try_from(year).unwrap_or(i32::MAX),
        u8::try_from(month).unwrap_or(1),
        u8::try_from(day).unwrap_or(1),
    )
}

fn time_of_day(seconds: i64) -> String {
    let second = seconds.rem_euclid(DAY_SECONDS);
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_each_reader_expects() {
        check_date(0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z");
        check_date(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z");
        check_date(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00Z");
        check_date(1_795_341_599, "Sun, 22 Nov 2026 09:59:59 GMT", "2026-11-22T09:59:59Z");
        check_date(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT", "2100-03-01T00:00:00Z");
        assert_eq!(entra_timestamp(784_111_777), "1994-11-06 08:49:37Z");
    }

    #[track_caller]
    fn check_date(seconds: i64, http: &str, rfc: &str) {
        assert_eq!(http_date(seconds), http);
        assert_eq!(rfc3339(seconds), rfc);
    }
}
