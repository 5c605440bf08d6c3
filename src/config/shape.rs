//! From the tree to what an operator writes: unknown keys and values of the wrong kind.
//!
//! serde stops at the first thing that does not fit. An operator wants all of them, so what does not fit is
//! noted and taken out of the tree, and the rest is read again, until it fits.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::document::{Node, Text, Value};
use super::fault::{Report, Severity, Span};
use super::file::File;
use super::nearest::nearest;

/// Most misfits that are reported before giving up: nobody reads on, and each costs another reading.
const MISFITS_MAX: usize = 100;

/// Reads the tree, and notes what does not fit. What stands under a key that we do not know could be a
/// secret, so it is not shown.
pub(super) fn read(root: &mut Node, report: &Report) -> Option<File> {
    for _ in 0..MISFITS_MAX {
        let misfit = match File::deserialize(NodeDeserializer { node: root }) {
            Ok(file) => return Some(file),
            Err(misfit) => misfit,
        };
        let taken_out = misfit.id.and_then(|id| root.take_out(id, misfit.meant));
        let Some(node) = taken_out else {
            report.note(Severity::Error, Span::TOP, "", misfit.message);
            return None;
        };
        if misfit.hides {
            report.hide(node.text_spans());
        }
        let span = if misfit.key { node.key_span } else { node.span };
        report.note(Severity::Error, span, &node.path, misfit.message);
    }
    report.note(Severity::Error, Span::TOP, "", "has more faults of this kind: fix these first");
    None
}

/// What does not fit.
#[derive(Debug)]
struct Misfit {
    /// The value that has to go.
    id: Option<usize>,
    message: String,
    /// The key that was probably meant.
    meant: Option<&'static str>,
    /// Whether the key is what does not fit.
    key: bool,
    /// Whether the value may be something that is not to be shown.
    hides: bool,
}

impl Misfit {
    fn new(node: &Node, message: impl fmt::Display) -> Self {
        Self { id: Some(node.id), message: message.to_string(), meant: None, key: false, hides: false }
    }

    fn kind(node: &Node, wanted: &str) -> Self {
        match node.value {
            Value::Nothing => Self::new(node, "has no value: give it one, or leave the key out"),
            _ => Self::new(node, format_args!("must be {wanted} (found {})", node.kind())),
        }
    }

    fn unknown_key(node: &Node, key: &str, known: &'static [&'static str]) -> Self {
        let meant = nearest(key, known.iter().copied());
        let message = match meant {
            Some(meant) => format!("is not a key here; did you mean `{meant}`?"),
            None if sounds_secret(key) => {
                "is not a key here. Secrets are not written in this file: name a file \
                with `secret_file`, or an environment variable with `secret_env`"
                    .to_owned()
            }
            None => format!("is not a key here; the keys are {}", listed(known)),
        };
        let hides = meant.is_none() || sounds_secret(key);
        Self { meant, key: true, hides, ..Self::new(node, message) }
    }
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "password", "token", "credential"].iter().any(|word| key.contains(word))
}

/// `` `a`, `b`, `c` ``
fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// `{ id: …, file: … }`: the first keys of a mapping.
fn example(fields: &[&str]) -> String {
    let shown: Vec<_> = fields.iter().take(EXAMPLE_KEYS).map(|field| format!("{field}: …")).collect();
    let more = if fields.len() > EXAMPLE_KEYS { ", …" } else { "" };
    format!("{{ {}{more} }}", shown.join(", "))
}

/// How many keys an example of a mapping has: enough to see its form.
const EXAMPLE_KEYS: usize = 2;

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { id: None, message: message.to_string(), meant: None, key: false, hides: false }
    }
}

/// A misfit without a place gets that of the innermost value that was being read.
fn within<T>(node: &Node, result: Result<T, Misfit>) -> Result<T, Misfit> {
    result.map_err(|misfit| Misfit { id: misfit.id.or(Some(node.id)), ..misfit })
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'de> {
    node: &'de Node,
}

impl<'de> NodeDeserializer<'de> {
    fn text(self) -> Result<&'de Text, Misfit> {
        match &self.node.value {
            Value::Text(text) if text.expanded.is_empty() => {
                Err(Misfit::new(self.node, "must not be empty: give it a value, or leave the key out"))
            }
            Value::Text(text) => Ok(text),
            _ => Err(Misfit::kind(self.node, "text")),
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Map(_) => self.deserialize_map(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Text(_) | Value::Nothing => self.deserialize_str(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        within(self.node, visitor.visit_borrowed_str(&self.text()?.expanded))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Text(Text { expanded, plain: true, .. }) if expanded == "true" => visitor.visit_bool(true),
            Value::Text(Text { expanded, plain: true, .. }) if expanded == "false" => {
                visitor.visit_bool(false)
            }
            Value::Text(text) => {
                let message =
                    format_args!("must be true or false, without quotes (found {:?})", text.written);
                Err(Misfit::new(self.node, message))
            }
            _ => Err(Misfit::kind(self.node, "true or false")),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        const KIND: &str = "a whole number from 0 to 4294967295, without quotes";
        match &self.node.value {
            Value::Text(Text { expanded, plain: true, .. }) => match expanded.parse() {
                Ok(number) if !expanded.starts_with('+') => visitor.visit_u32(number),
                Ok(_) | Err(_) => Err(Misfit::kind(self.node, KIND)),
            },
            Value::Text(_) | Value::Map(_) | Value::List(_) | Value::Nothing => {
                Err(Misfit::kind(self.node, KIND))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        // A key without a value is never read as a key left out: an emptied list of agents must not let in
        // any.
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::List(elements) => visitor.visit_seq(Elements { rest: elements.iter() }),
            _ => Err(Misfit::kind(self.node, "a list, like `[one, two]`")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
            // Text where keys should be may be a secret in the wrong place.
            _ => Err(Misfit { hides: true, ..Misfit::kind(self.node, "a mapping of keys and values") }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if let Value::Map(entries) = &self.node.value
            && let Some((key, node)) = entries.iter().find(|(key, _)| !fields.contains(&key.as_str()))
        {
            return Err(Misfit::unknown_key(node, key, fields));
        }
        if !matches!(self.node.value, Value::Map(_)) {
            let wanted = format!("a mapping of keys and values, like `{}`", example(fields));
            // Text where keys should be may be a secret in the wrong place.
            return Err(Misfit { hides: true, ..Misfit::kind(self.node, &wanted) });
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let text = self.text()?;
        if !variants.contains(&text.expanded.as_str()) {
            let message = format_args!("must be one of {} (found {:?})", listed(variants), text.written);
            return Err(Misfit::new(self.node, message));
        }
        visitor.visit_enum(Variant { name: &text.expanded })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Elements<'de> {
    rest: std::slice::Iter<'de, Node>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        self.rest.next().map(|node| within(node, seed.deserialize(NodeDeserializer { node }))).transpose()
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, (String, Node)>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some(node);
        let key: StrDeserializer<'_, Misfit> = key.as_str().into_deserializer();
        within(node, seed.deserialize(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let node = self.value.take().expect("serde asks for a value after its key");
        within(node, seed.deserialize(NodeDeserializer { node }))
    }
}

/// A word out of a closed set, without anything beside it.
struct Variant<'de> {
    name: &'de str,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        let name: StrDeserializer<'_, Misfit> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Misfit> {
        Err(word_alone())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Misfit> {
        Err(word_alone())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Misfit> {
        Err(word_alone())
    }
}

fn word_alone() -> Misfit {
    serde::de::Error::custom("is a word with nothing beside it")
}
