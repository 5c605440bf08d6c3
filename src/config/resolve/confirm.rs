//! `confirm`: calls that their person has to agree to, and whether there is anybody to ask.

use super::pages::who_cannot_sign_in;
use super::publication::PublicUrl;
use crate::config::at::At;
use crate::config::file::{self, File};
use crate::gateway::ConnectorSettings;
use crate::oauth::IssuerSettings;
use crate::pages::PagesSettings;
use crate::policy::Policy;
use crate::tool::{Confirm, Tool};

/// Reads whether the person has to agree.
pub const fn confirm(confirm: Option<file::Confirm>) -> Confirm {
    match confirm {
        None | Some(file::Confirm::No) => Confirm::No,
        Some(file::Confirm::Anywhere) => Confirm::Anywhere,
        Some(file::Confirm::OnPage) => Confirm::OnPage,
    }
}

/// Whether people are asked about some calls, as far as this file says it.
pub fn is_wanted(file: &File) -> bool {
    let wants = |own: Option<file::Confirm>| confirm(own) != Confirm::No;
    let mut connectors = file.connectors.iter().flat_map(|connectors| &connectors.0);
    let by_policy = file.policy.as_ref().is_some_and(|policy| policy.confirm.is_some());
    by_policy
        || connectors.any(|(_, connector)| {
            let mut tools = connector.tools.iter().flat_map(|tools| &tools.0);
            wants(connector.confirm) || tools.any(|(_, tool)| wants(tool.confirm))
        })
}

/// What people have to be asked with.
pub struct Means<'a> {
    pub public_url: &'a PublicUrl<'a>,
    #[cfg_attr(
        not(feature = "cedar"),
        expect(dead_code, reason = "only policies do not say by themselves that they want pages")
    )]
    pub pages: Option<&'a PagesSettings>,
    pub issuers: &'a [IssuerSettings],
}

impl Means<'_> {
    /// A question that nobody can answer would hold a call back for ever.
    pub fn check(&self, root: &At<'_>, connectors: &[ConnectorSettings], policy: &Policy) {
        for connector in connectors {
            let connector_at = root.key("connectors").key(connector.name.as_str());
            let mut is_checked = false;
            for tool in connector.tools.declared().into_iter().filter(|tool| tool.confirm != Confirm::No) {
                let own = connector_at.key("tools").key(tool.name.as_str()).key("confirm");
                if own.is_written() {
                    self.check_at(&own, [&**tool].into_iter());
                } else if !std::mem::replace(&mut is_checked, true) {
                    self.check_at(&connector_at.key("confirm"), [&**tool].into_iter());
                }
            }
        }
        let tools = || connectors.iter().flat_map(|connector| connector.tools.declared()).map(AsRef::as_ref);
        for (index, rule) in policy.confirmations().iter().enumerate() {
            let at = root.key("policy").key("confirm").index(index);
            self.check_at(&at, tools().filter(|tool| rule.is_about(tool)));
        }
        #[cfg(feature = "cedar")]
        if policy.cedar().is_some_and(|cedar| cedar.confirms_some()) {
            let at = root.key("policy").key("cedar");
            match (self.pages, self.public_url) {
                (None, PublicUrl::Given(_)) => at.fault(
                    "has policies with `@confirm`, for which people need pages: add `pages: {}` to the file",
                ),
                (_, _) => self.check_at(&at, tools().filter(|tool| !policy.permits_about(tool).is_empty())),
            }
        }
    }

    fn check_at<'t>(&self, at: &At<'_>, mut tools: impl Iterator<Item = &'t Tool>) {
        match self.public_url {
            PublicUrl::Given(_) => {}
            PublicUrl::Missing => {
                return at.fault(
                    "needs `public_url`, under which people's browsers find the page that asks them: add it, like `public_url: \
                     https://gateway.example`",
                );
            }
            PublicUrl::Unclear => return,
        }
        if let Some(issuer) = tools.find_map(|tool| who_cannot_sign_in(tool, self.issuers)) {
            at.fault(format_args!(
                "needs its people to sign in to the page that asks them, and those of `{issuer}` cannot: give that issuer \
                 `sign_in`, or `exchange`"
            ));
        }
    }
}
