//! JSON, written member by member onto a line.
//!
//! Every call is a line of seventy members. Written like this they cost half of what a serializer takes that first has all of them
//! as values.

use std::net::IpAddr;

use serde::Serialize;

/// An object that is being written.
pub struct Object<'l>(&'l mut Vec<u8>);

/// A list that is being written.
pub struct List<'l>(&'l mut Vec<u8>);

impl<'l> Object<'l> {
    /// Begins one.
    pub fn begin(line: &'l mut Vec<u8>) -> Self {
        line.push(b'{');
        Self(line)
    }

    /// Goes on with members whose object is another's to begin and to end.
    pub fn of_members(line: &'l mut Vec<u8>) -> Self {
        Self(line)
    }

    /// Ends it.
    pub fn end(self) {
        self.0.push(b'}');
    }

    /// A member that is a text.
    #[inline]
    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        append_text(self.0, text);
    }

    /// A member that is a text, where there is one.
    pub fn optional_text(&mut self, name: &str, text: Option<impl AsRef<str>>) {
        text.into_iter().for_each(|text| self.text(name, text.as_ref()));
    }

    /// A member that is a number.
    #[inline]
    pub fn number(&mut self, name: &str, number: impl itoa::Integer) {
        self.name(name);
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Adds an IP address, as text.
    pub fn ip(&mut self, name: &str, address: IpAddr) {
        let IpAddr::V4(address) = address else { return self.text(name, &address.to_string()) };
        self.name(name);
        self.0.push(b'"');
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                self.0.push(b'.');
            }
            self.0.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
        }
        self.0.push(b'"');
    }

    /// A member that is a number, where there is one.
    pub fn optional_number(&mut self, name: &str, number: Option<impl itoa::Integer>) {
        number.into_iter().for_each(|number| self.number(name, number));
    }

    /// A member that is an object, with what `write` writes.
    pub fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut object = Object::begin(self.0);
        write(&mut object);
        object.end();
    }

    /// A member that is a list, with what `write` writes.
    pub fn list(&mut self, name: &str, write: impl FnOnce(&mut List<'_>)) {
        self.name(name);
        self.0.push(b'[');
        write(&mut List(self.0));
        self.0.push(b']');
    }

    /// A member of any type: what is seldom there, or written once for many calls.
    pub fn value(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        serde_json::to_writer(&mut *self.0, value).expect("texts and numbers can be written into memory");
    }

    /// A member that is a text of these parts, which are escaped already.
    pub fn escaped(&mut self, name: &str, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.name(name);
        self.0.push(b'"');
        parts.into_iter().for_each(|part| self.0.extend_from_slice(part.as_ref()));
        self.0.push(b'"');
    }

    /// Members that were written before.
    pub fn members(&mut self, members: &[u8]) {
        if !members.is_empty() {
            self.separate();
            self.0.extend_from_slice(members);
        }
    }

    // Most names are known where this is written, and copied without asking how long they are.
    #[inline(always)]
    fn name(&mut self, name: &str) {
        self.separate();
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        separate(self.0, b'{');
    }
}

impl List<'_> {
    /// An entry that is an object, with what `write` writes.
    pub fn object(&mut self, write: impl FnOnce(&mut Object<'_>)) {
        separate(self.0, b'[');
        let mut object = Object::begin(self.0);
        write(&mut object);
        object.end();
    }
}

/// A comma, unless nothing comes before it.
fn separate(line: &mut Vec<u8>, opening: u8) {
    // No text ends with the opening: it ends with its quotation mark.
    if line.last().is_some_and(|last| *last != opening) {
        line.push(b',');
    }
}

/// A part of a text, for [`Object::escaped`].
pub fn append_escaped(line: &mut Vec<u8>, text: &str) {
    let start = line.len();
    append_text(line, text);
    line.remove(start);
    line.pop();
}

fn append_text(line: &mut Vec<u8>, text: &str) {
    // All bytes, without a branch at each: few texts have anything to be escaped.
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        serde_json::to_writer(line, text).expect("a text can be written into memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_is_what_a_reader_reads() {
        let mut line = Vec::new();
        let mut object = Object::begin(&mut line);
        object.object("empty", |_| ());
        object.text("text", "\"\\\u{1}\n\u{7f}é{");
        object.optional_text("nothing", None::<&str>);
        object.number("number", -7);
        object.optional_number("much", Some(u64::MAX));
        object.list("none", |_| ());
        object.list("list", |list| {
            list.object(|entry| entry.text("a", "b"));
            list.object(|_| ());
        });
        object.members(b"");
        object.members(br#""one":1,"two":2"#);
        object.value("value", &[1, 2]);
        let (mut begun, ended) = (Vec::new(), b" ends");
        append_escaped(&mut begun, "\"begins\"");
        object.escaped("parts", [&begun[..], ended]);
        object.ip("ipv4", [192, 0, 2, 10].into());
        object.ip("ipv6", std::net::Ipv6Addr::LOCALHOST.into());
        object.end();
        let read: Value = serde_json::from_slice(&line).expect("JSON");
        let expected = json!({
            "empty": {}, "text": "\"\\\u{1}\n\u{7f}é{", "number": -7, "much": u64::MAX, "none": [], "list": [{"a": "b"}, {}],
            "one": 1, "two": 2, "value": [1, 2],
            "parts": "\"begins\" ends", "ipv4": "192.0.2.10", "ipv6": "::1",
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn members_alone_begin_without_a_comma() {
        let mut members = Vec::new();
        let mut object = Object::of_members(&mut members);
        object.number("a", 1);
        object.number("b", 2);
        assert_eq!(members, br#""a":1,"b":2"#);
    }
}
