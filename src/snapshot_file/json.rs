// SPDX-License-Identifier: GPL-2.0-only
//! JSON as a tree that keeps what derived readers lose: the order of the fields,
//! those given twice, and how a number was written. Never knows what a field means.
//!
//! A derived reader would also take a list where an object is due, and could not
//! say where in the file a number is too large.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::usage::UsageError;

/// A JSON value, in the memory of the text where possible.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'t> {
    /// No value: what a field that is not there has. Never parsed.
    Missing,
    Null,
    Bool(bool),
    /// Written without sign, point and exponent.
    Whole(u64),
    Negative(i64),
    /// Any other number; finite.
    Real(f64),
    Text(Cow<'t, str>),
    List(Vec<Value<'t>>),
    /// The fields in the order of the file; names may repeat.
    Object(Vec<(Cow<'t, str>, Value<'t>)>),
}

impl Value<'_> {
    /// Any number.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Value::Whole(number) => Some(number as f64),
            Value::Negative(number) => Some(number as f64),
            Value::Real(number) => Some(number),
            _ => None,
        }
    }
}

/// As much of the value as a line of an error has room for.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Missing => f.write_str("nothing"),
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Whole(number) => write!(f, "{number}"),
            Value::Negative(number) => write!(f, "{number}"),
            // Debug writes 1e300, Display 301 digits.
            Value::Real(number) => write!(f, "{number:?}"),
            Value::Text(text) => write!(f, "'{}'", shorten(text)),
            Value::List(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

/// The start of `text`, so that an error stays readable.
pub(super) fn shorten(text: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Parses `text`, which must be one JSON value and nothing else.
///
/// # Errors
/// What is not JSON, nested too deep, or has a number too large for an f64.
pub(super) fn parse(text: &str) -> Result<Value<'_>, UsageError> {
    let mut path = Vec::new();
    // Its limit of 128 levels keeps a hostile file from using up the stack.
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Tree { path: &mut path }.deserialize(&mut reader);
    value
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| not_json(text, &path, &error))
}

fn not_json(text: &str, path: &[Step<'_>], error: &serde_json::Error) -> UsageError {
    let mut place = String::new();
    for step in path {
        match step {
            Step::Key(key) if place.is_empty() => place.push_str(&shorten(key)),
            Step::Key(key) => place.extend([".", &shorten(key)]),
            Step::Index(index) => place.push_str(&format!("[{index}]")),
        }
    }
    if place.is_empty() {
        place.push_str(super::ROOT);
    }
    let message = error.to_string();
    if message.starts_with("number out of range") {
        return UsageError::new(&place, format!("{message}; give a finite number"));
    }
    if let Some(name) = not_finite(text, error) {
        let detail = format!("JSON has no {name}; give a finite number");
        return UsageError::new(&place, detail);
    }
    UsageError::new(&place, format!("this is not JSON: {message}"))
}

/// What many programs write for a number that is not finite, if `error` is there.
fn not_finite(text: &str, error: &serde_json::Error) -> Option<&'static str> {
    let line = text.split('\n').nth(error.line().checked_sub(1)?)?;
    // The error is at a letter of the name or, for -Infinity, right after the sign.
    let column = error.column().checked_sub(1)?;
    let start = line.as_bytes()[..column.min(line.len())]
        .iter()
        .rposition(|byte| !byte.is_ascii_alphabetic())
        .map_or(0, |before| before + 1);
    ["NaN", "Infinity"].into_iter().find(|name| {
        let rest = line.get(start..).unwrap_or_default();
        rest.starts_with(name)
    })
}

/// One step from the file's value towards the one being read.
enum Step<'t> {
    Key(Cow<'t, str>),
    Index(usize),
}

/// Reads any value. After an error `path` leads to where it was.
struct Tree<'p, 't> {
    path: &'p mut Vec<Step<'t>>,
}

impl<'t> DeserializeSeed<'t> for Tree<'_, 't> {
    type Value = Value<'t>;

    fn deserialize<D: serde::Deserializer<'t>>(self, reader: D) -> Result<Value<'t>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Tree<'_, 't> {
    type Value = Value<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'t>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value<'t>, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'t>, E> {
        Ok(Value::Whole(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'t>, E> {
        Ok(Value::Negative(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'t>, E> {
        Ok(Value::Real(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'t>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Value<'t>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<Value<'t>, A::Error> {
        let mut list = Vec::new();
        self.path.push(Step::Index(0));
        while let Some(item) = items.next_element_seed(Tree {
            path: &mut *self.path,
        })? {
            list.push(item);
            if let Some(last) = self.path.last_mut() {
                *last = Step::Index(list.len());
            }
        }
        self.path.pop();
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut fields: A) -> Result<Value<'t>, A::Error> {
        let mut object = Vec::new();
        while let Some(key) = fields.next_key_seed(Key)? {
            self.path.push(Step::Key(key.clone()));
            let value = fields.next_value_seed(Tree {
                path: &mut *self.path,
            })?;
            self.path.pop();
            object.push((key, value));
        }
        Ok(Value::Object(object))
    }
}

/// Reads the name of a field, in the memory of the text where possible.
struct Key;

impl<'t> DeserializeSeed<'t> for Key {
    type Value = Cow<'t, str>;

    fn deserialize<D: serde::Deserializer<'t>>(self, reader: D) -> Result<Cow<'t, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Key {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = parse(text).expect_err(text).to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn numbers_keep_their_form_and_fields_their_order() {
        let text = r#"{"b":[1,-1,1.0,1e2,0.1],"a":null,"b":true,"":"é\n"}"#;
        let real = Value::Real;
        let numbers = vec![
            Value::Whole(1),
            Value::Negative(-1),
            real(1.0),
            real(100.0),
            real(0.1),
        ];
        let fields = vec![
            ("b".into(), Value::List(numbers)),
            ("a".into(), Value::Null),
            ("b".into(), Value::Bool(true)),
            ("".into(), Value::Text("é\n".into())),
        ];
        assert_eq!(parse(text), Ok(Value::Object(fields)));
        assert_eq!(parse("18446744073709551616"), Ok(real(2f64.powi(64))));
    }

    #[test]
    fn errors_say_where() {
        for (text, start) in [
            (
                r#"{"a":[{"b":0},{"b":1e999}]}"#,
                "a[1].b: number out of range",
            ),
            (r#"{"a":[1,NaN]}"#, "a[1]: JSON has no NaN; give a finite"),
            (
                "{\"a\":[1,\n  -Infinity]}",
                "a[1]: JSON has no Infinity; give",
            ),
            (r#"{"a":[1,Nan]}"#, "a[1]: this is not JSON"),
            (r#"{"a":[1,2"#, "a[2]: this is not JSON"),
            (r#"{"a":{"b":1]}"#, "a: this is not JSON"),
            (
                "{} {}",
                "the snapshot: this is not JSON: trailing characters",
            ),
            ("\u{feff}{}", "the snapshot: this is not JSON"),
            (r#"{"a\u001b[31m":-}"#, "a\\u{1b}[31m: this is not JSON"),
        ] {
            assert!(error(text).starts_with(start), "{text}: {}", error(text));
        }
        let deep = "[".repeat(100_000);
        assert!(error(&deep).contains("recursion limit"), "{}", error(&deep));
        let long = format!("{{\"{}\":x}}", "k".repeat(100_000));
        assert!(error(&long).len() < 200, "{}", error(&long));
    }
}
