//! Form parameters, read by the rules of RFC 6749: none twice, and an empty one is absent.

use super::fault::Fault;

/// The parameters of one request, in order.
#[derive(Clone)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(encoded).into_owned().collect())
    }

    pub(super) fn parameters(&self) -> &[(String, String)] {
        &self.0
    }

    /// The same, with other values for one parameter, where there are any.
    pub(super) fn map(&self, name: &str, other: impl Fn(&str) -> Option<String>) -> Self {
        let mapped = |(key, value): &(String, String)| {
            let value =
                if key == name { other(value).unwrap_or_else(|| value.clone()) } else { value.clone() };
            (key.clone(), value)
        };
        Self(self.0.iter().map(mapped).collect())
    }

    /// Refuses a request that gives a parameter twice, except the two that RFC 8693 lets repeat.
    pub(super) fn check_repetition(&self) -> Result<(), Fault> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            let repeats = self.0[..index].iter().any(|(earlier, _)| earlier == name);
            if repeats && !matches!(name.as_str(), "audience" | "resource") {
                return Err(Fault::plain(
                    "invalid_request",
                    format!("the parameter '{name}' is given twice"),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| Fault::parameter_missing(name))
    }
}
