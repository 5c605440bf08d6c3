//! What a person does in their browser with a link that an agent passed on: signs in, reads what is asked, and agrees.

use super::StoryError;
use super::stage::Stage;
use crate::demo::browser::{Browser, Page};

/// Most pages until it is done.
const PAGES_MAX: usize = 10;

/// The pages that somebody came by, in order.
pub struct Visit {
    /// Where each page was, and what it was called.
    pub pages: Vec<(String, String)>,
}

/// Opens a link as `who`, and does what each page asks for, until one asks for nothing any more.
///
/// # Errors
///
/// When a page cannot be had.
pub async fn make(link: &str, who: &str, browser: &mut Browser, stage: &Stage) -> Result<Visit, StoryError> {
    let mut page = browser.open(link).await?;
    let mut pages = Vec::new();
    while pages.len() < PAGES_MAX {
        pages.push((place(&page, stage), page.heading()));
        page = match next(&page, who) {
            Next::Follow(part) => browser.follow(&page, part).await?,
            Next::Agree(part) => browser.submit(&page, part, None).await?,
            Next::Pick(person) => browser.submit(&page, "/sign-in", Some(("person", &person))).await?,
            Next::Nothing => break,
        };
    }
    Ok(Visit { pages })
}

/// What a page asks for.
enum Next {
    /// To go where a link with this in its address leads.
    Follow(&'static str),
    /// To agree, by the form with this in its address.
    Agree(&'static str),
    /// To say who one is.
    Pick(String),
    Nothing,
}

fn next(page: &Page, who: &str) -> Next {
    if let Some(person) = page.button(who).filter(|_| page.has_form("/sign-in")) {
        return Next::Pick(person);
    }
    if page.has_link("/begin?") {
        return Next::Follow("/begin?");
    }
    if page.has_form("/agree") {
        return Next::Agree("/agree");
    }
    if page.has_link("/sign-in?") { Next::Follow("/sign-in?") } else { Next::Nothing }
}

/// Whose page it is.
fn place(page: &Page, stage: &Stage) -> String {
    let address = page.address.as_str();
    let of = |origin: &str| address.starts_with(origin);
    if of(&stage.origin()) {
        "the gateway"
    } else if of(stage.authorization_server.origin()) {
        "the company's sign-in"
    } else if of(stage.webmail_server.origin()) {
        "the other company's sign-in"
    } else {
        "somewhere else"
    }
    .to_owned()
}
