// SPDX-License-Identifier: GPL-2.0-only
//! JSON as a tree that keeps what derived readers lose: the order of the fields,
//! those given twice, and how a number was written. Never knows what a field means.
//!
//! A derived reader would also take a list where an object is due, and could not
//! say where in the file a number is too large.
//!
//! A tree takes up to thirty times the memory of its text. So the items of the one
//! list that may be long are handed out as they are read and not kept, and of
//! anything else there may be only so much.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::usage::{UsageError, shorten};

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

/// Most values in a tree, and in an item that is handed out: two for each pair of
/// nodes of the largest machine there is (1024), and half a million groups. As
/// trees they are half a GB at worst.
const MAX_VALUES: usize = 1 << 21;

/// What is done with an item that is handed out, given its place in the list.
pub(super) type Take<'a, 't> = dyn FnMut(usize, &Value<'t>) -> Result<(), UsageError> + 'a;

/// Parses `text`, which must be one JSON value and nothing else. The items of the
/// list that is its field `long` go to `take`, and the tree has that list empty.
///
/// # Errors
/// What is not JSON, nested too deep, too much for a tree, or has a number too
/// large for an f64; and what `take` returns.
pub(super) fn parse<'t>(
    text: &'t str,
    long: &'static str,
    take: &mut Take<'_, 't>,
) -> Result<Value<'t>, UsageError> {
    let mut state = State {
        path: Vec::new(),
        room: MAX_VALUES,
        refusal: None,
        long,
        take,
    };
    // Its limit of 128 levels keeps a hostile file from using up the stack.
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Tree(&mut state).deserialize(&mut reader);
    value
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| match state.refusal {
            Some(refusal) => refusal,
            None => not_json(text, &state.path, &error),
        })
}

/// Steps at each end of a path that errors show: a snapshot has no path this long.
const SHOWN_STEPS: usize = 4;

/// How errors call a place.
fn name_of(path: &[Step<'_>]) -> String {
    let mut place = String::new();
    let left_out = SHOWN_STEPS..path.len().saturating_sub(SHOWN_STEPS);
    for (at, step) in path.iter().enumerate() {
        if left_out.contains(&at) {
            if at == left_out.start {
                place.push_str("...");
            }
            continue;
        }
        match step {
            Step::Key(key) if place.is_empty() => place.push_str(&shorten(key)),
            Step::Key(key) => place.extend([".", &shorten(key)]),
            Step::Index(index) => place.push_str(&format!("[{index}]")),
        }
    }
    if place.is_empty() {
        place.push_str(super::ROOT);
    }
    place
}

fn not_json(text: &str, path: &[Step<'_>], error: &serde_json::Error) -> UsageError {
    let place = name_of(path);
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

/// Where reading is, and what it may still do.
struct State<'a, 'f, 't> {
    /// After an error this leads to where it was.
    path: Vec<Step<'t>>,
    /// Values that there is room for.
    room: usize,
    /// An error that is not about JSON.
    refusal: Option<UsageError>,
    long: &'static str,
    take: &'a mut Take<'f, 't>,
}

impl<'t> State<'_, '_, 't> {
    /// Makes room for one more value.
    fn count(&mut self) -> Result<(), UsageError> {
        let room = self.room.checked_sub(1);
        self.room = room.ok_or_else(|| {
            let detail = format!("there is too much here; give at most {MAX_VALUES} values");
            UsageError::new(&name_of(&self.path), detail)
        })?;
        Ok(())
    }

    /// Whether the list that begins here is the long one.
    fn is_at_long(&self) -> bool {
        matches!(&self.path[..], [Step::Key(key)] if key == self.long)
    }

    /// Keeps an error that is not about JSON for the end of reading.
    fn refuse<T, E: Error>(&mut self, result: Result<T, UsageError>) -> Result<T, E> {
        result.map_err(|refusal| {
            self.refusal = Some(refusal);
            E::custom("refused")
        })
    }
}

/// Reads any value.
struct Tree<'s, 'a, 'f, 't>(&'s mut State<'a, 'f, 't>);

impl<'t> DeserializeSeed<'t> for Tree<'_, '_, '_, 't> {
    type Value = Value<'t>;

    fn deserialize<D: serde::Deserializer<'t>>(self, reader: D) -> Result<Value<'t>, D::Error> {
        let counted = self.0.count();
        self.0.refuse(counted)?;
        reader.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Tree<'_, '_, '_, 't> {
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
        let state = self.0;
        let mut list = Vec::new();
        let is_long = state.is_at_long();
        let room = state.room;
        let mut index = 0;
        state.path.push(Step::Index(index));
        while let Some(item) = items.next_element_seed(Tree(&mut *state))? {
            if is_long {
                state.room = room;
                let taken = (state.take)(index, &item);
                state.refuse(taken)?;
            } else {
                list.push(item);
            }
            index += 1;
            if let Some(last) = state.path.last_mut() {
                *last = Step::Index(index);
            }
        }
        state.path.pop();
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut fields: A) -> Result<Value<'t>, A::Error> {
        let state = self.0;
        let mut object = Vec::new();
        while let Some(key) = fields.next_key_seed(Key)? {
            state.path.push(Step::Key(key.clone()));
            let value = fields.next_value_seed(Tree(&mut *state))?;
            state.path.pop();
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

    fn parse(text: &str) -> Result<Value<'_>, UsageError> {
        super::parse(text, "none", &mut |_, _| Ok(()))
    }

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
    #[test]
    fn the_items_of_the_long_list_are_handed_out_and_not_kept() {
        let text = r#"{"b":[1],"a":[1,[2],{"a":[3]}],"c":{"a":[4]}}"#;
        let mut items = Vec::new();
        let value = super::parse(text, "a", &mut |index, item| {
            items.push((index, item.clone()));
            Ok(())
        });
        let list = |number| Value::List(vec![Value::Whole(number)]);
        let nested = |number| Value::Object(vec![("a".into(), list(number))]);
        assert_eq!(items, [(0, Value::Whole(1)), (1, list(2)), (2, nested(3))]);
        let fields = vec![
            ("b".into(), list(1)),
            ("a".into(), Value::List(Vec::new())),
            ("c".into(), nested(4)),
        ];
        assert_eq!(value, Ok(Value::Object(fields)));
        let refusal = super::parse(text, "a", &mut |index, _| match index {
            2 => Err(UsageError::new("a[2]", "it is wrong")),
            _ => Ok(()),
        });
        assert_eq!(refusal.expect_err(text).to_string(), "a[2]: it is wrong");
    }

    #[test]
    fn too_many_values_are_refused_unless_they_are_handed_out() {
        let zeros = "0,".repeat(MAX_VALUES);
        let text = format!(r#"{{"a":[{zeros}0]}}"#);
        let place = MAX_VALUES - 2;
        let start = format!("a[{place}]: there is too much here; give at most");
        assert!(error(&text).starts_with(&start), "{}", error(&text));
        let mut count = 0;
        let value = super::parse(&text, "a", &mut |_, _| {
            count += 1;
            Ok(())
        });
        assert_eq!((value.is_ok(), count), (true, MAX_VALUES + 1));
        let text = format!(r#"{{"a":[0,[{zeros}0]]}}"#);
        let refusal = super::parse(&text, "a", &mut |_, _| Ok(()));
        let refusal = refusal.expect_err("too much").to_string();
        assert!(refusal.starts_with("a[1]["), "{refusal}");
    }
}
