//! Unguessable names: codes, key ids, form tokens, GUIDs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A token of 256 random bits in 43 characters that need no escaping anywhere.
pub(super) fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// A random GUID (RFC 9562 version 4).
pub(super) fn guid() -> String {
    let mut guid = u128::from_be_bytes(bytes::<16>());
    guid = (guid & !(0xf << 76)) | (0x4 << 76);
    guid = (guid & !(0x3 << 62)) | (0x2 << 62);
    let hex = format!("{guid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works, or nothing here can be safe");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_its_version_and_variant_where_readers_look() {
        for _ in 0..64 {
            let guid = guid();
            assert_eq!(guid.len(), 36);
            assert_eq!(&guid[14..15], "4", "{guid}");
            assert!("89ab".contains(&guid[19..20]), "{guid}");
        }
        assert_ne!(super::guid(), super::guid());
    }
}
