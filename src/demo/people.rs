//! The people of the demo tenant: who can sign in, and whose mail there is.

/// Someone who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The object id: with the tenant, the one name that never changes.
    pub oid: String,
    /// The name people read.
    pub name: String,
    /// The user principal name, which is also the mail address.
    pub user_name: String,
    /// Object ids or names of the groups the person is in, as the `groups` claim carries them.
    pub groups: Vec<String>,
    /// The gateway's application roles the person has, as the `roles` claim carries them.
    pub roles: Vec<String>,
    /// Whether the person has a mailbox.
    pub mailbox: bool,
}

impl Person {
    /// A person with a mailbox, in the group `staff`.
    pub fn new(oid: &str, name: &str, user_name: &str) -> Self {
        Self {
            oid: oid.to_owned(),
            name: name.to_owned(),
            user_name: user_name.to_owned(),
            groups: vec!["staff".to_owned()],
            roles: Vec::new(),
            mailbox: true,
        }
    }

    /// Ada Lindqvist, an engineer.
    pub fn ada() -> Self {
        let mut ada =
            Self::new("2f9a1c64-7d0e-4b7e-9d57-0c3a51f0a001", "Ada Lindqvist", "ada.lindqvist@demo.test");
        ada.groups.push("engineering".to_owned());
        ada
    }

    /// Bob Okafor, who works in finance.
    pub fn bob() -> Self {
        let mut bob = Self::new("8c41d2b7-53ae-4f09-8a1b-6e2f7b90b002", "Bob Okafor", "bob.okafor@demo.test");
        bob.groups.push("finance".to_owned());
        bob
    }

    /// Ada's account at another company, which knows her by another identifier.
    pub fn ada_at_fabrikam() -> Self {
        Self::new("c3e17a52-96b0-4d1f-8e5a-7b24f0c9d003", "Ada Lindqvist", "ada@fabrikam.test")
    }

    /// Bob's.
    pub fn bob_at_fabrikam() -> Self {
        Self::new("d81b04c6-27f3-4ae9-b5d7-1f6093a8e004", "Bob Okafor", "bob@fabrikam.test")
    }

    /// Whether `who` names this person: by object id, user name, full name or first name.
    pub fn is(&self, who: &str) -> bool {
        let first_name = self.name.split(' ').next().unwrap_or_default();
        [&self.oid, &self.user_name, &self.name, first_name].iter().any(|name| name.eq_ignore_ascii_case(who))
    }
}
