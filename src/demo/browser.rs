//! A browser, as far as people of the demo need one: cookies by their rules, links, and forms. It runs no scripts, and shows nothing.

use std::collections::BTreeMap;

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use url::{Position, Url};

/// Most redirects in a row. Real browsers give up after some twenty.
const REDIRECTS_MAX: usize = 10;

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// There was no answer.
    #[error("there was no answer")]
    NoAnswer(#[from] reqwest::Error),
    /// An address is none.
    #[error("{0:?} is no address")]
    Address(String),
    /// One redirect led to the next.
    #[error("the page leads on and on")]
    Redirects,
    /// What was looked for is not on the page.
    #[error("the page {heading:?} has no {what}")]
    NotThere {
        /// The page.
        heading: String,
        /// What was looked for.
        what: String,
    },
}

/// A browser of one person.
pub struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<CookieKey, String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CookieKey {
    host: String,
    path: String,
    name: String,
}

/// A page that a browser has open.
pub struct Page {
    /// Where it is.
    pub address: Url,
    /// With which status it came.
    pub status: StatusCode,
    html: String,
}

impl Browser {
    /// A browser without cookies. `client` trusts whom it is to trust, and follows no redirects.
    pub fn new(client: reqwest::Client) -> Self {
        Self { client, cookies: BTreeMap::new() }
    }

    /// Opens an address, and goes where it leads.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] when no page comes of it.
    pub async fn open(&mut self, address: &str) -> Result<Page, BrowserError> {
        let url = Url::parse(address).map_err(|_| BrowserError::Address(address.to_owned()))?;
        let request = self.client.get(url.clone());
        self.load(url, request).await
    }

    /// Follows the first link of a page whose address contains `part`.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] when there is none, or no page comes of it.
    pub async fn follow(&mut self, page: &Page, part: &str) -> Result<Page, BrowserError> {
        let link = page.link(part).ok_or_else(|| page.lacks(&format!("link to {part}")))?;
        let url = page.address.join(&link).map_err(|_| BrowserError::Address(link))?;
        let request = self.client.get(url.clone());
        self.load(url, request).await
    }

    /// Sends the first form of a page whose address contains `part`, by the button of this name and value where it has one.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] when there is none, or no page comes of it.
    pub async fn submit(
        &mut self,
        page: &Page,
        part: &str,
        button: Option<(&str, &str)>,
    ) -> Result<Page, BrowserError> {
        let form = page.form(part).ok_or_else(|| page.lacks(&format!("form for {part}")))?;
        let url = page.address.join(&form.action).map_err(|_| BrowserError::Address(form.action.clone()))?;
        let mut fields = form.fields;
        fields.extend(button.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let is_same = url[..Position::BeforePath] == page.address[..Position::BeforePath];
        let request = self
            .client
            .post(url.clone())
            .form(&fields)
            .header("sec-fetch-site", if is_same { "same-origin" } else { "cross-site" })
            .header("origin", &page.address[..Position::BeforePath]);
        self.load(url, request).await
    }

    async fn load(
        &mut self,
        mut url: Url,
        mut request: reqwest::RequestBuilder,
    ) -> Result<Page, BrowserError> {
        for _ in 0..REDIRECTS_MAX {
            let cookies = self.cookies_for(&url);
            if !cookies.is_empty() {
                request = request.header(COOKIE, cookies);
            }
            let response = request.send().await?;
            self.keep_cookies(&url, response.headers());
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            match location.filter(|_| response.status().is_redirection()) {
                Some(location) => {
                    url = url.join(location).map_err(|_| BrowserError::Address(location.to_owned()))?;
                    request = self.client.get(url.clone());
                }
                None => {
                    return Ok(Page {
                        address: url,
                        status: response.status(),
                        html: response.text().await?,
                    });
                }
            }
        }
        Err(BrowserError::Redirects)
    }

    fn cookies_for(&self, url: &Url) -> String {
        let (host, path) = (url.host_str().unwrap_or_default(), url.path());
        let under = |own: &str| {
            path.strip_prefix(own)
                .is_some_and(|rest| own.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
        };
        let own = self.cookies.iter().filter(|(key, _)| key.host == host && under(&key.path));
        own.map(|(key, value)| format!("{}={value}", key.name)).collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, url: &Url, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()) {
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let attributes: Vec<&str> = parts.collect();
            let path = attributes.iter().find_map(|attribute| attribute.strip_prefix("Path=")).unwrap_or("/");
            let key = CookieKey {
                host: url.host_str().unwrap_or_default().to_owned(),
                path: path.to_owned(),
                name: name.to_owned(),
            };
            if attributes.contains(&"Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }
}

/// A form, as far as it is filled in already.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Page {
    /// What it is called.
    pub fn heading(&self) -> String {
        self.between("<h1>", "</h1>").map(unescaped).unwrap_or_else(|| self.status.to_string())
    }

    /// Whether it has a link whose address contains `part`.
    pub fn has_link(&self, part: &str) -> bool {
        self.link(part).is_some()
    }

    /// Whether it has a form whose address contains `part`.
    pub fn has_form(&self, part: &str) -> bool {
        self.form(part).is_some()
    }

    /// The value of the button that says `label` in its first line.
    pub fn button(&self, label: &str) -> Option<String> {
        let mut buttons = self.html.split("<button ").skip(1);
        let button =
            buttons.find(|button| button.split("</button>").next().is_some_and(|own| own.contains(label)))?;
        attribute(button.split('>').next()?, "value")
    }

    fn link(&self, part: &str) -> Option<String> {
        let links =
            self.html.split("<a ").skip(1).filter_map(|tag| attribute(tag.split('>').next()?, "href"));
        links.into_iter().find(|link| link.contains(part))
    }

    fn form(&self, part: &str) -> Option<Form> {
        self.html.split("<form ").skip(1).find_map(|rest| {
            let (tag, body) = rest.split_once('>')?;
            let action = attribute(tag, "action").filter(|action| action.contains(part))?;
            let inputs = body.split("</form>").next()?.split("<input ").skip(1);
            let fields = inputs.filter_map(|input| {
                let tag = input.split('>').next()?;
                Some((attribute(tag, "name")?, attribute(tag, "value")?))
            });
            Some(Form { action, fields: fields.collect() })
        })
    }

    fn between(&self, before: &str, after: &str) -> Option<&str> {
        self.html.split_once(before)?.1.split_once(after).map(|(text, _)| text)
    }

    fn lacks(&self, what: &str) -> BrowserError {
        BrowserError::NotThere { heading: self.heading(), what: what.to_owned() }
    }
}

/// The value of an attribute, in quotes or without.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = format!(" {tag} ");
    let value = tag.split_once(&format!(" {name}="))?.1;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([' ', '>']).next()?,
    };
    Some(unescaped(value))
}

/// Text, as it reads.
fn unescaped(text: &str) -> String {
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    named.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(html: &str) -> Page {
        let address = Url::parse("https://localhost:1/account/connect/t").expect("an address");
        Page { address, status: StatusCode::OK, html: html.to_owned() }
    }

    #[test]
    fn a_page_has_links_forms_and_buttons() {
        let page = page(
            "<h1>Connect &#38; go?</h1><a class=\"button\" href=\"/begin?a=1&#38;b=2\">x</a>\
             <form method=post action=\"/sign-in\"><input type=hidden name=form_token value=\"t\">\
             <button class=person name=person value=\"o-1\"><span>Ada</span></button>\
             <button class=person name=person value=\"o-2\"><span>Bob</span></button></form>",
        );
        assert_eq!(page.heading(), "Connect & go?");
        assert_eq!(page.link("/begin"), Some("/begin?a=1&b=2".to_owned()));
        assert_eq!(
            page.form("/sign-in").expect("a form").fields,
            [("form_token".to_owned(), "t".to_owned())]
        );
        assert_eq!(page.button("Bob").as_deref(), Some("o-2"));
        assert!(page.button("Eve").is_none() && !page.has_form("/agree") && !page.has_link("/agree"));
    }

    #[test]
    fn a_cookie_goes_where_it_is_from_and_no_further() {
        let mut browser = Browser::new(reqwest::Client::new());
        let url = |text: &str| Url::parse(text).expect("an address");
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "a=1; Path=/t; HttpOnly".parse().expect("a value"));
        headers.append(SET_COOKIE, "b=2; Path=/; Secure".parse().expect("a value"));
        browser.keep_cookies(&url("http://127.0.0.1:1/t/x"), &headers);
        assert_eq!(browser.cookies_for(&url("http://127.0.0.1:2/")), "b=2");
        assert_eq!(browser.cookies_for(&url("http://127.0.0.1:2/t")), "b=2; a=1");
        assert_eq!(browser.cookies_for(&url("http://127.0.0.1:2/tt")), "b=2");
        assert_eq!(browser.cookies_for(&url("http://localhost:2/t")), "");
        let mut gone = HeaderMap::new();
        gone.append(SET_COOKIE, "b=; Path=/; Max-Age=0".parse().expect("a value"));
        browser.keep_cookies(&url("http://127.0.0.1:1/"), &gone);
        assert_eq!(browser.cookies_for(&url("http://127.0.0.1:2/")), "");
    }
}
