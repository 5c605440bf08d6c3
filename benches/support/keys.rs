//! The keys that tokens are verified with.

use std::time::Duration;

use obo_gateway::oauth::authorization_server::AuthorizationServer;

/// How often the key set is looked for before the benchmark gives up, a hundredth of a second apart.
const KEY_SET_TRIES: usize = 3_000;

/// Waits for its keys.
pub async fn until_keys_are_known(server: &AuthorizationServer) {
    for _ in 0..KEY_SET_TRIES {
        if server.key_set().is_known() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the keys of the development authorization server cannot be fetched");
}
