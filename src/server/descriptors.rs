//! File descriptors, of which a process has so many. Were they to run out, nobody could be accepted any more, operators neither, and no
//! connector or file be opened. So agents connect only as far as there are enough for all that goes with it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are for others than agents and the connectors that they call: the admin endpoints have up to 64 connections; then
/// there are files, authorization servers, and what each worker has.
const OTHERS: u64 = 128;
/// For who is connected: its own, and one towards a connector.
const FOR_ONE: u64 = 2;

/// Has the system give this process as many descriptors as it may have. Many systems give 1,024 at first, for the sake of
/// programs that know no more.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it is refused, there are as many as before.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// As many connections of agents as wanted, or as there are descriptors for.
pub fn connections_max(wanted: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current;
    let enough_for = enough_for(descriptors);
    if enough_for < wanted {
        tracing::warn!(
            wanted,
            connections = enough_for,
            descriptors,
            "Too few file descriptors for all connections"
        );
    }
    wanted.min(enough_for)
}

/// Most connections to connectors: the second descriptor of each pair that `FOR_ONE` counts. However many calls one agent has on its
/// connection, those of others have their descriptors.
pub fn connector_connections_max() -> usize {
    enough_for(getrlimit(Resource::Nofile).current)
}

/// How many connections so many descriptors are enough for. `None`: there is no limit.
fn enough_for(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return usize::MAX };
    let of_agents = descriptors.saturating_sub(OTHERS.min(descriptors / 2));
    usize::try_from(of_agents / FOR_ONE).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_others() {
        for (descriptors, connections) in [
            (Some(0), 1),
            (Some(64), 16),
            (Some(256), 64),
            (Some(1_024), 448),
            (Some(65_536), 32_704),
            (None, usize::MAX),
        ] {
            assert_eq!(enough_for(descriptors), connections, "{descriptors:?}");
        }
    }
}
