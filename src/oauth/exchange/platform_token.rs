//! The token by which the platform vouches for the gateway (workload identity federation).

use std::path::Path;

use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::identity::SecretToken;

/// Largest token that is read. Kubernetes' are about 1 kB.
const TOKEN_BYTES_MAX: u64 = 16_384;

/// Reads the token, as the platform last wrote it.
///
/// # Errors
///
/// What is wrong with the file.
pub async fn read(path: &Path) -> Result<SecretToken, &'static str> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = tokio::fs::File::open(path).await.map_err(|_| "its `token_file` cannot be read")?;
    file.take(TOKEN_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|_| "its `token_file` cannot be read")?;
    if bytes.len() as u64 > TOKEN_BYTES_MAX {
        return Err("its `token_file` holds more than 16 KiB");
    }
    let token = bytes.trim_ascii();
    match std::str::from_utf8(token) {
        Ok(token) if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(SecretToken::new(token))
        }
        Ok(_) | Err(_) => Err("its `token_file` holds no token"),
    }
}
