//! The links of agents: a page, and the identifier of what it is about. Whoever has to sign in first goes on there.

/// Longest identifier that is carried along.
const ID_BYTES_MAX: usize = 64;

/// A link of an agent. It is no more than where to go on: what is there, the page looks up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    page: LinkPage,
    id: String,
}

/// What an agent's link leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkPage {
    /// Connecting an account.
    Connect,
    /// A call to agree to.
    Confirm,
}

impl LinkPage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Connect, Self::Confirm];

    /// Which part of a path it is.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Confirm => "confirm",
        }
    }

    /// Which parameter of a sign-in carries its identifier.
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::Connect => "ticket",
            Self::Confirm => "question",
        }
    }
}

impl Link {
    /// The link of this page with this identifier; `None` when it can be none.
    pub fn new(page: LinkPage, id: &str) -> Option<Self> {
        let fits = !id.is_empty()
            && id.len() <= ID_BYTES_MAX
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        fits.then(|| Self { page, id: id.to_owned() })
    }

    /// Which page.
    pub fn page(&self) -> LinkPage {
        self.page
    }

    /// About what.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it leads, within the pages.
    pub fn rest(&self) -> String {
        format!("/{}/{}", self.page.path(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_page_of_ours_or_is_none() {
        let link = Link::new(LinkPage::Confirm, "aB-_9").expect("a link");
        assert_eq!(link.rest(), "/confirm/aB-_9");
        for no in ["", "a/b", "..", "a?b", "https:", &"a".repeat(65)] {
            assert_eq!(Link::new(LinkPage::Connect, no), None, "{no}");
        }
    }
}
