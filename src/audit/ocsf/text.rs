//! Texts from outside, made safe for one line: nothing that ends it, nothing that steers a terminal, not too long, no token,
//! and where people stand under pseudonyms, nothing that names them.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

use http::HeaderValue;
use memchr::memmem::Finder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::audit::deed::KnownPerson;
use crate::audit::keyed::Privacy;
use crate::identity::Caller;
use crate::unseen::{cleaned, disturbs};

/// Longest text from outside that a record takes: addresses fit, and a flood of long ones does not fill the disk. Longer
/// ones are cut, and marked.
pub const TEXT_BYTES_MAX: usize = 2_048;
/// Longest name or identifier: as long as those that are taken from tokens.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Longest part of a sentence for people.
const PHRASE_BYTES_MAX: usize = 256;
/// Longest name of an argument, as the configuration has them, and longest value.
pub const ARGUMENT_NAME_BYTES_MAX: usize = 128;
pub const ARGUMENT_BYTES_MAX: usize = 512;
/// Most entries of a list, and most bytes of them all.
const LIST_MAX: usize = 64;
const LIST_BYTES_MAX: usize = 4_096;
/// What marks a text that was cut, and ends a list that was.
pub const CUT_MARK: &str = "…[cut]";
/// Fewest bytes of an identifier that is looked for within other texts. What is shorter is everywhere, and names nobody.
const HIDDEN_BYTES_MIN: usize = 4;
/// Fewest bytes of what was sent as a token, and was taken for none. What is shorter may be the name of anything.
const UNVERIFIED_TOKEN_BYTES_MIN: usize = 16;
/// Stands in place of a token.
const TOKEN: &str = "[token]";
/// How a JWT begins, and each of its parts that is JSON: `{"` and a letter, in base64.
const TOKEN_BEGINS: &str = "eyJ";
/// Finds it: every text is looked through, so what finds it is made once.
static FIND_TOKEN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TOKEN_BEGINS));
/// Fewest characters of a token. What is as long as this and begins like one is no honest name.
const TOKEN_BYTES_MIN: usize = 40;
/// What stands in a path as it is (RFC 3986 section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The texts of one record.
#[derive(Default)]
pub struct Texts<'r> {
    /// Whether something was cut.
    cut: Cell<bool>,
    /// What must not be seen, in lower case, and what stands in its place.
    hidden: Vec<(String, String)>,
    /// Tokens that must not be seen. They are in every record and longer than most texts, so there is seldom anything to do for it.
    tokens: Vec<&'r [u8]>,
}

impl<'r> Texts<'r> {
    /// The texts of a record that is about this caller, or about nobody who is known.
    pub fn about(caller: Option<&Caller>, privacy: &Privacy) -> Self {
        let mut texts = Self::default();
        if let Some(caller) = caller.filter(|caller| privacy.has_pseudonyms() && !caller.is_agent_alone()) {
            texts.hide(
                Some(caller.subject().as_str()),
                privacy.person(caller.realm(), caller.subject().as_str()),
            );
            texts.hide(caller.session(), privacy.session(caller));
            texts.hide(caller.token_id(), privacy.token_id(caller));
        }
        texts
    }

    /// The texts of a record that is about these people.
    pub fn about_known<'p>(people: impl IntoIterator<Item = &'p KnownPerson>, privacy: &Privacy) -> Self {
        let mut texts = Self::default();
        for person in people.into_iter().filter(|_| privacy.has_pseudonyms()) {
            let (realm, subject) = (person.id.realm(), person.id.subject.as_str());
            texts.hide(Some(subject), privacy.person(realm, subject));
            texts.hide(person.name.as_deref(), privacy.person(realm, subject));
        }
        texts
    }

    /// Puts a pseudonym in the place of what names somebody, wherever it stands, as it is or percent-encoded.
    pub fn hide(&mut self, named: Option<&str>, pseudonym: Option<String>) {
        let (Some(named), Some(pseudonym)) = (named, pseudonym) else { return };
        if named.len() >= HIDDEN_BYTES_MIN {
            self.hidden.extend(ways_to_write(named).map(|named| (named, pseudonym.clone())));
        }
    }

    /// Puts a mark in the place of the tokens that were sent in these headers, the caller's and the agent's own, wherever else
    /// they stand.
    ///
    /// Nobody chooses the text of a token that was verified. What was not may be anything, such as the name of the tool that is
    /// called: where the caller is known it hides nothing, and of others, who are all refused, nothing that is short.
    pub fn hide_tokens(&mut self, [callers, agents]: &'r [Option<HeaderValue>; 2], caller: Option<&Caller>) {
        let bytes_min = if caller.is_some() { HIDDEN_BYTES_MIN } else { UNVERIFIED_TOKEN_BYTES_MIN };
        let is_verified = caller.is_some_and(|caller| caller.actor_token().is_some());
        let agents = agents.as_ref().filter(|_| is_verified || caller.is_none());
        for header in callers.iter().chain(agents) {
            let header = header.as_bytes();
            let scheme = header.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
            self.tokens.extend(Some(header[scheme..].trim_ascii()).filter(|token| token.len() >= bytes_min));
        }
    }

    /// Whether something was cut so far.
    pub fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether something is cut by what `write` does.
    pub fn cut_by(&self, write: impl FnOnce()) -> bool {
        let before = self.cut.replace(false);
        write();
        let is_cut = self.cut.get();
        self.cut.set(before || is_cut);
        is_cut
    }

    /// A text.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.within(text, TEXT_BYTES_MAX)
    }

    /// A name or an identifier.
    pub fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        self.within(name, NAME_BYTES_MAX)
    }

    /// A part of a sentence for people. That it is cut cuts nothing off the record, which has the whole of it elsewhere.
    pub fn phrase<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let cut = self.cut.get();
        let phrase = self.text(text);
        self.cut.set(cut);
        match phrase.len() <= PHRASE_BYTES_MAX {
            true => phrase,
            false => Cow::Owned(format!("{}…", &phrase[..phrase.floor_char_boundary(PHRASE_BYTES_MAX)])),
        }
    }

    /// A text that is made here.
    pub fn made(&self, text: String) -> Cow<'static, str> {
        self.made_within(text, TEXT_BYTES_MAX)
    }

    /// The text of a header.
    pub fn header<'a>(&self, value: &'a HeaderValue) -> Cow<'a, str> {
        match value.to_str() {
            Ok(text) => self.text(text),
            Err(_) => self.made(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        }
    }

    /// A list of names. One that is cut ends with the mark.
    pub fn list<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
        let mut list = Vec::new();
        self.each_of_list(names, |name| list.push(name));
        list
    }

    /// Each name of such a list.
    pub fn each_of_list<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        mut then: impl FnMut(Cow<'a, str>),
    ) {
        let mut bytes = 0;
        for (at, name) in names.into_iter().enumerate() {
            let name = self.name(name);
            bytes += name.len();
            if at == LIST_MAX || bytes > LIST_BYTES_MAX {
                return then(self.cut_mark());
            }
            then(name);
        }
    }

    /// What ends a text or a list that was cut.
    pub fn cut_mark(&self) -> Cow<'static, str> {
        self.cut.set(true);
        Cow::Borrowed(CUT_MARK)
    }

    /// A text of this many bytes at most, and the mark.
    pub fn within<'a>(&self, text: &'a str, bytes_max: usize) -> Cow<'a, str> {
        let may_name = self.hidden_lengths().any(|length| length <= text.len());
        match text.len() <= bytes_max && !may_name && find_token(text).is_none() && !has_disturbing(text) {
            true => Cow::Borrowed(text),
            false => self.made_within(text.to_owned(), bytes_max),
        }
    }

    fn made_within(&self, mut text: String, bytes_max: usize) -> Cow<'static, str> {
        // What stands farther behind is cut off, whatever it is. Percent-encoded, a token may be three times as long.
        let tokens = self.tokens.iter().map(|token| 3 * token.len());
        let longest = self.hidden_lengths().chain(tokens).max().unwrap_or_default();
        let looked_at = text.floor_char_boundary(bytes_max.saturating_add(longest));
        let is_longer = looked_at < text.len();
        text.truncate(looked_at);
        let text = without_tokens(self.without_names(text, bytes_max));
        if !is_longer && text.len() <= bytes_max && !has_disturbing(&text) {
            return Cow::Owned(text);
        }
        let mut kept = String::with_capacity(text.len().min(bytes_max) + CUT_MARK.len());
        let mut characters = text.chars().map(cleaned).peekable();
        // What is replaced may have grown.
        while let Some(c) = characters.next_if(|c| kept.len() + c.len_utf8() <= bytes_max) {
            kept.push(c);
        }
        if is_longer || characters.peek().is_some() {
            kept.push_str(&self.cut_mark());
        }
        Cow::Owned(kept)
    }

    /// Whether something that must not be seen may stand in members of JSON. In doubt it says yes.
    pub fn may_stand_in(&self, members: &[u8]) -> bool {
        let names = self.hidden.iter().any(|(named, _)| may_stand_in(members, named.as_bytes()));
        names || self.tokens.iter().any(|token| may_token_stand_in(members, token))
    }

    /// How long the shortest ways are to write what must not be seen.
    fn hidden_lengths(&self) -> impl Iterator<Item = usize> {
        let tokens = self.tokens.iter().map(|token| token.len());
        self.hidden.iter().map(|(named, _)| named.len()).chain(tokens)
    }

    /// The text with pseudonyms in place of names and tokens, in whatever case their ASCII letters are. In linear time, since agents
    /// choose both the text and, where it is refused, what was sent as a token.
    fn without_names(&self, mut text: String, bytes_max: usize) -> String {
        for (named, pseudonym) in &self.hidden {
            text = replaced(text, named, pseudonym, bytes_max);
        }
        for token in &self.tokens {
            if token.len() <= text.len()
                && let Ok(token) = std::str::from_utf8(token)
            {
                for token in ways_to_write(token) {
                    text = replaced(text, &token, TOKEN, bytes_max);
                }
            }
        }
        text
    }
}

/// Whether a text may stand in members of JSON, in whatever case its ASCII letters are. One that JSON can write in several ways is
/// taken to.
fn may_stand_in(members: &[u8], text: &[u8]) -> bool {
    if text.len() > members.len() {
        return false;
    }
    let has_one_way = text.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    !has_one_way || members.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text))
}

/// The same of a token, which may be percent-encoded there.
fn may_token_stand_in(members: &[u8], token: &[u8]) -> bool {
    if token.len() > members.len() {
        return false;
    }
    match std::str::from_utf8(token) {
        Ok(token) => ways_to_write(token).any(|token| may_stand_in(members, token.as_bytes())),
        Err(_) => true,
    }
}

/// The text as it is and percent-encoded, in lower case.
fn ways_to_write(text: &str) -> impl Iterator<Item = String> {
    let is_plain = text.bytes().all(stands_as_it_is);
    let encoded = (!is_plain).then(|| utf8_percent_encode(text, ENCODED).to_string().to_ascii_lowercase());
    encoded.into_iter().chain([text.to_ascii_lowercase()])
}

/// The text with `pseudonym` in the place of `named`, which is in lower case. What stands beyond `bytes_max` is cut off later.
fn replaced(text: String, named: &str, pseudonym: &str, bytes_max: usize) -> String {
    // To look for it would be to prepare for it first, and that takes longer than a look at all of a short text.
    if named.len() > text.len() {
        return text;
    }
    let lower = text.to_ascii_lowercase();
    let (mut shown, mut from) = (String::new(), 0);
    for (at, found) in lower.match_indices(named) {
        if shown.len() + (at - from) > bytes_max {
            break;
        }
        shown.push_str(&text[from..at]);
        shown.push_str(pseudonym);
        from = at + found.len();
    }
    if from == 0 {
        return text;
    }
    shown.push_str(&text[from..]);
    shown
}

/// Whether a byte stands in a path as it is.
const fn stands_as_it_is(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn find_token(text: &str) -> Option<usize> {
    FIND_TOKEN.find(text.as_bytes())
}

/// Whether something in it disturbs. Most texts are of ASCII, and are told at a glance.
fn has_disturbing(text: &str) -> bool {
    !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.chars().any(disturbs)
}

/// The text without anything that looks like a token, whoever's it is: somebody may have put it where it does not belong.
fn without_tokens(text: String) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/' | '=');
    let (mut kept, mut rest) = (String::new(), text.as_str());
    while let Some(at) = find_token(rest) {
        let run = rest[at..].find(|c| !is_part(c)).unwrap_or(rest.len() - at);
        let shown = if run < TOKEN_BYTES_MIN { &rest[at..at + run] } else { TOKEN };
        kept.push_str(&rest[..at]);
        kept.push_str(shown);
        rest = &rest[at + run..];
    }
    match kept.is_empty() && rest.len() == text.len() {
        true => text,
        false => kept + rest,
    }
}
