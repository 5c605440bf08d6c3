//! Whom a call is for, and what the connector has to see of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The agents: what their tokens have in `azp`.
pub const AGENTS: [&str; 2] = ["agent-1", "agent-11"];
/// The connectors, and what tokens for them have in `aud`: two have the same.
pub const CONNECTORS: [(&str, &str); 3] = [
    ("mail", "https://mail.demo.test"),
    ("files", "https://files.demo.test"),
    ("archive", "https://files.demo.test"),
];
/// The tools of each connector, and the scopes that each asks for.
pub const TOOLS: [(&str, &str); 2] = [("read", "Items.Read"), ("write", "Items.Read Items.Write")];
/// Every scope that there is.
pub const ALL_SCOPES: &str = "Items.Read Items.Write";

/// How the person signed in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignIn {
    /// As usual.
    Plain,
    /// With another factor.
    Strong,
}

/// Everything that tells one delegated token from another. Calls of one lane may share a token; no others may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lane {
    pub person: usize,
    pub agent: usize,
    pub tenant: usize,
    pub sign_in: SignIn,
    pub connector: usize,
    pub tool: usize,
}

impl Lane {
    /// Who acts, as the subject token says it: the agent, and which of its sign-ins.
    pub fn actor(&self) -> String {
        format!("{} {:?}", AGENTS[self.agent], self.sign_in)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { person, agent, tenant, sign_in, connector, tool } = self;
        let strong = u8::from(*sign_in == SignIn::Strong);
        write!(f, "{person}.{agent}.{tenant}.{strong}.{connector}.{tool}")
    }
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<usize>, _> = text.split('.').map(str::parse).collect();
        let Ok([person, agent, tenant, strong, connector, tool]) = numbers.as_deref() else {
            return Err(format!("{text:?} is no lane"));
        };
        let sign_in = if *strong == 1 { SignIn::Strong } else { SignIn::Plain };
        let (agent, tenant, connector, tool) = (*agent, *tenant, *connector, *tool);
        Ok(Self { person: *person, agent, tenant, sign_in, connector, tool })
    }
}

/// Whom a delegated token is for, as its signed claims say it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Whom {
    pub tenant: String,
    pub person: String,
    pub actor: String,
    pub audience: String,
    pub scopes: String,
}

/// What the connector answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Echo {
    /// The call it answers.
    pub call: usize,
    /// Whom its token was for.
    pub whom: Whom,
    /// What makes it long, where the call asks for that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filler: String,
}
