//! From when until when a certificate is valid (RFC 5280 section 4.1.2.5), to warn before agents complain.

use rustls::pki_types::CertificateDer;

/// The two dates of a certificate, in seconds since 1970 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    pub not_before: u64,
    pub not_after: u64,
}

// X.690 tags of what is passed on the way.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

impl Validity {
    /// The dates, unless the certificate is not built as RFC 5280 says.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let mut certificate = Der(certificate);
        let mut signed = Der(Der(certificate.value(SEQUENCE)?).value(SEQUENCE)?);
        if signed.0.first() == Some(&VERSION) {
            signed.value(VERSION)?;
        }
        signed.value(INTEGER)?; // serial number
        signed.value(SEQUENCE)?; // signature algorithm
        signed.value(SEQUENCE)?; // issuer
        let mut validity = Der(signed.value(SEQUENCE)?);
        Some(Self { not_before: validity.time()?, not_after: validity.time()? })
    }
}

/// What is left to read of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, which must have this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        // X.690 section 8.1.3: up to 127 as it is; above, the number of length octets and then the length.
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (
                    octets.iter().try_fold(0_usize, |length, octet| {
                        Some(length.checked_mul(256)? + usize::from(*octet))
                    })?,
                    rest,
                )
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(value)
    }

    fn time(&mut self) -> Option<u64> {
        match *self.0.first()? {
            UTC_TIME => {
                let text = std::str::from_utf8(self.value(UTC_TIME)?).ok()?;
                // RFC 5280 section 4.1.2.5.1: two digits, which mean 1950 to 2049.
                let century = if text.get(..2)? < "50" { "20" } else { "19" };
                seconds(&format!("{century}{text}"))
            }
            GENERALIZED_TIME => seconds(std::str::from_utf8(self.value(GENERALIZED_TIME)?).ok()?),
            _ => None,
        }
    }
}

/// `YYYYMMDDHHMMSSZ` in seconds since 1970 UTC; what lies before is 0.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z')?;
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    // Days before a month in a year that begins in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    /// The same count for 1970-01-01.
    const EPOCH: u64 = 719_468;
    Some((days.checked_sub(EPOCH)?) * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(seconds(text), expected, "{text}");
    }

    #[test]
    fn dates_are_counted_from_1970() {
        check("19700101000000Z", Some(0));
        check("20000229120000Z", Some(951_825_600));
        check("20261122000000Z", Some(1_795_305_600));
        check("20380119031408Z", Some(2_147_483_648));
        check("99991231235959Z", Some(253_402_300_799));
        check("19491231235959Z", Some(0));
        check("20261322000000Z", None);
        check("2026112200000Z", None);
        check("20261122000000", None);
        check("202611220000éZ", None);
    }

    #[test]
    fn broken_der_has_no_dates() {
        for der in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"\x30\x03\x30\x01\x02"] {
            assert_eq!(Validity::of(&CertificateDer::from(der)), None, "{der:?}");
        }
    }
}
