//! A browser, as far as pages need one: cookies by their rules, links, forms, and no redirect that the test does not see.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response};
use url::Url;

use crate::bed::client;

/// The address that browsers know the gateway by.
pub const PUBLIC: &str = "https://gateway.example";

/// A browser. What it reaches under [`PUBLIC`] is served by the gateway at `gateway`.
pub struct Browser {
    client: Client,
    gateway: String,
    /// By host, and then by name.
    cookies: BTreeMap<(String, String), String>,
    /// What only the browser and those that it was sent to may know.
    secrets: Vec<String>,
    /// All that the gateway's pages said.
    shown: String,
}

/// Parameters of addresses that are nobody else's business.
const SECRET_PARAMETERS: [&str; 4] = ["state", "nonce", "code", "token"];

/// A page, read.
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Browser {
    pub fn at(gateway: String) -> Self {
        let (cookies, secrets, shown) = (BTreeMap::new(), Vec::new(), String::new());
        Self { client: client(), gateway, cookies, secrets, shown }
    }

    /// The same at another address, of those that loopback has many of.
    pub fn coming_from(self, address: IpAddr) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(address)
            .build()
            .expect("a client");
        Self { client, ..self }
    }

    /// The cookies of the gateway that it ever had, and the states, nonces, codes and tokens of all addresses that it went to.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// All that the gateway's pages said.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn note(&mut self, address: &str) {
        let Ok(address) = Url::parse(address) else { return };
        let secret = address.query_pairs().filter(|(name, _)| SECRET_PARAMETERS.contains(&&**name));
        self.secrets.extend(secret.map(|(_, value)| value.into_owned()));
    }

    /// The cookies of the gateway.
    pub fn gateway_cookies(&self) -> Vec<(&str, &str)> {
        let ours = self.cookies.iter().filter(|((host, _), _)| host == "gateway.example");
        ours.map(|((_, name), value)| (name.as_str(), value.as_str())).collect()
    }

    /// Puts a cookie of the gateway in.
    pub fn plant(&mut self, name: &str, value: &str) {
        self.cookies.insert(("gateway.example".to_owned(), name.to_owned()), value.to_owned());
    }

    fn reached(&self, address: &str) -> String {
        match address.strip_prefix(PUBLIC) {
            Some(rest) => format!("{}{rest}", self.gateway),
            None => address.to_owned(),
        }
    }

    fn send_cookies(&self, host: &str, request: RequestBuilder) -> RequestBuilder {
        let own = self.cookies.iter().filter(|((of, _), _)| of == host);
        let cookies: Vec<String> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    fn keep_cookies(&mut self, host: &str, response: &Response) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            let (pair, attributes) = cookie.split_once(';').expect("a cookie has attributes");
            let (name, value) = pair.split_once('=').expect("a name and a value");
            let has = |wanted: &str| attributes.split(';').any(|attribute| attribute.trim() == wanted);
            if host == "gateway.example" {
                assert!(name.starts_with("__Host-obo-"), "{cookie}");
                for needed in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                    assert!(has(needed), "{cookie} lacks {needed}");
                }
                assert!(!attributes.contains("Domain"), "{cookie}");
            }
            if host == "gateway.example" && !value.is_empty() {
                self.secrets.push(value.to_owned());
            }
            let key = (host.to_owned(), name.to_owned());
            match has("Max-Age=0") {
                true => drop(self.cookies.remove(&key)),
                false => drop(self.cookies.insert(key, value.to_owned())),
            }
        }
    }

    async fn send(&mut self, address: &str, request: RequestBuilder) -> Page {
        self.note(address);
        let host = Url::parse(address).expect("an address").host_str().expect("a host").to_owned();
        let response = self.send_cookies(&host, request).send().await.expect("an answer");
        self.keep_cookies(&host, &response);
        let page = Page::read(response).await;
        if host == "gateway.example" {
            self.shown.push_str(&page.text);
        }
        if let Some(next) = page.location() {
            self.note(&next);
        }
        page
    }

    /// Opens an address, and goes nowhere from there.
    pub async fn step(&mut self, address: &str) -> Page {
        let request = self.client.get(self.reached(address));
        self.send(address, request).await
    }

    /// Opens an address, and follows where it leads.
    pub async fn open(&mut self, address: &str) -> Page {
        let mut address = Url::parse(address).expect("an address");
        for _ in 0..10 {
            let page = self.step(address.as_str()).await;
            match page.location() {
                None => return page,
                Some(next) => address = address.join(&next).expect("an address"),
            }
        }
        panic!("a browser gives up here: {address}");
    }

    /// Sends a form of a page of the gateway, as a browser does.
    pub async fn submit(&mut self, page: &Page, action: &str) -> Page {
        let form = page.form(action);
        let address = format!("{PUBLIC}{action}");
        let page = self.post(&address, &form, &[("sec-fetch-site", "same-origin"), ("origin", "null")]).await;
        match page.location() {
            None => page,
            Some(next) => {
                self.open(Url::parse(&address).expect("an address").join(&next).expect("one").as_str()).await
            }
        }
    }

    /// Sends a form with these header fields.
    pub async fn post(&mut self, address: &str, form: &[(String, String)], headers: &[(&str, &str)]) -> Page {
        let mut request = self.client.post(self.reached(address)).form(form);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(address, request).await
    }

    /// Picks a person on the development server's sign-in page, which `page` is, and goes where that leads.
    pub async fn pick(&mut self, page: &Page, server: &Url, person: &str) -> Page {
        let next = self.pick_only(page, server, person).await;
        self.open(&next).await
    }

    /// Picks a person, and gives where that leads without going there.
    pub async fn pick_only(&mut self, page: &Page, server: &Url, person: &str) -> String {
        let action = page.between("action=\"", "\"");
        let form =
            [("form_token".to_owned(), page.value("form_token")), ("person".to_owned(), person.to_owned())];
        let address = server.join(&action).expect("an address");
        let page = self.post(address.as_str(), &form, &[("sec-fetch-site", "same-origin")]).await;
        page.location().unwrap_or_else(|| panic!("the sign-in leads nowhere: {}", page.text))
    }
}

impl Page {
    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("text") }
    }

    pub fn location(&self) -> Option<String> {
        self.headers.get(LOCATION).map(|location| location.to_str().expect("text").to_owned())
    }

    #[track_caller]
    pub fn between(&self, before: &str, after: &str) -> String {
        let found = self.text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
        found
            .unwrap_or_else(|| panic!("no {before}…{after} in {}", self.text))
            .0
            .replace("&amp;", "&")
            .replace("&#38;", "&")
    }

    /// The value of the hidden field of this name.
    #[track_caller]
    pub fn value(&self, name: &str) -> String {
        let quoted = format!("name=\"{name}\" value=\"");
        match self.text.contains(&quoted) {
            true => self.between(&quoted, "\""),
            false => self.between(&format!("name={name} value=\""), "\""),
        }
    }

    /// Where the first link leads that contains `part`.
    #[track_caller]
    pub fn link(&self, part: &str) -> String {
        let mut links = self.text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let link = links.find(|link| link.contains(part));
        link.unwrap_or_else(|| panic!("no link with {part} in {}", self.text))
            .replace("&amp;", "&")
            .replace("&#38;", "&")
    }

    /// The fields of the form with this action.
    #[track_caller]
    pub fn form(&self, action: &str) -> Vec<(String, String)> {
        let form = self.between(&format!("action=\"{action}\">"), "</form>");
        let field = |input: &str| {
            let (name, rest) = input.split_once('"')?;
            let (_, rest) = rest.split_once("value=\"")?;
            Some((name.to_owned(), rest.split('"').next()?.to_owned()))
        };
        form.split("name=\"").skip(1).filter_map(field).collect()
    }

    #[track_caller]
    pub fn assert_says(&self, status: u16, heading: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.text.contains(&format!("<h1>{heading}</h1>")), "no {heading} in {}", self.text);
    }
}
