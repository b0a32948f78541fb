// SPDX-License-Identifier: GPL-2.0-only
//! Reading fields out of a JSON tree: each is known by its path in the file.
//! Never knows what a snapshot is; every refusal names the field.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::json::Value;
use crate::usage::{UsageError, shorten};

/// How to get from the file's value to a field.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str(super::ROOT),
            Path::Field(Path::Root, name) => f.write_str(&shorten(name)),
            Path::Field(parent, name) => write!(f, "{parent}.{}", shorten(name)),
            Path::Item(Path::Root, index) => write!(f, "[{index}]"),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value and where it is.
pub(super) struct At<'p> {
    path: Path<'p>,
    value: &'p Value<'p>,
}

impl<'p> At<'p> {
    /// The file's value.
    pub fn root(value: &'p Value<'p>) -> At<'p> {
        At {
            path: Path::Root,
            value,
        }
    }

    /// An item of a list that is at `path`.
    pub fn item(path: &'p Path<'p>, index: usize, value: &'p Value<'p>) -> At<'p> {
        At {
            path: Path::Item(path, index),
            value,
        }
    }

    /// An error about this field.
    pub fn error(&self, detail: impl fmt::Display) -> UsageError {
        UsageError::new(&self.path.to_string(), detail)
    }

    /// The error that this field is not `what`, or not there; `give` says what
    /// to give.
    pub fn refuse(&self, what: &str, give: &str) -> UsageError {
        if matches!(self.value, Value::Missing) {
            return self.error(format!("it is missing; give {give}"));
        }
        self.error(format!("{} is not {what}; give {give}", self.value))
    }

    /// A number for which `fits` holds.
    pub fn number(
        &self,
        what: &str,
        give: &str,
        fits: impl FnOnce(f64) -> bool,
    ) -> Result<f64, UsageError> {
        match self.value.number() {
            // Adding 0.0 turns -0.0 into 0.0.
            Some(number) if fits(number) => Ok(number + 0.0),
            _ => Err(self.refuse(what, give)),
        }
    }

    /// A whole number in `range`, written as one.
    pub fn whole(&self, what: &str, range: RangeInclusive<u64>) -> Result<u64, UsageError> {
        match *self.value {
            Value::Whole(number) if range.contains(&number) => Ok(number),
            _ => {
                let (least, most) = range.into_inner();
                let give = format!("a whole number from {least} to {most}");
                Err(self.refuse(what, &give))
            }
        }
    }

    /// Any whole number that fits.
    pub fn whole_u64(&self, what: &str) -> Result<u64, UsageError> {
        self.whole(what, 0..=u64::MAX)
    }

    /// Any whole number that fits.
    pub fn whole_u32(&self, what: &str) -> Result<u32, UsageError> {
        let number = self.whole(what, 0..=u64::from(u32::MAX))?;
        // In range: nothing is cut off.
        Ok(number as u32)
    }

    /// A text.
    pub fn text(&self, what: &str, give: &str) -> Result<&'p str, UsageError> {
        match self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.refuse(what, give)),
        }
    }

    /// The items of a list.
    pub fn items<'s>(&'s self, what: &str) -> Result<impl Iterator<Item = At<'s>>, UsageError> {
        let Value::List(list) = self.value else {
            return Err(self.refuse("a list", &format!("a list of {what}")));
        };
        let items = list.iter().enumerate();
        Ok(items.map(|(index, value)| At::item(&self.path, index, value)))
    }

    /// The fields of an object whose names are not known beforehand. None is
    /// given twice.
    pub fn entries<'s>(
        &'s self,
        what: &str,
    ) -> Result<impl Iterator<Item = (&'s str, At<'s>)>, UsageError> {
        let Value::Object(fields) = self.value else {
            return Err(self.refuse("an object", what));
        };
        let at = |name, value| At {
            path: Path::Field(&self.path, name),
            value,
        };
        let mut seen = BTreeSet::new();
        for (name, value) in fields {
            if !seen.insert(name) {
                return Err(at(name, value).error("it is given twice; give it once"));
            }
        }
        Ok(fields
            .iter()
            .map(move |(name, value)| (name.as_ref(), at(name, value))))
    }

    /// An object with no other fields than these, none of them twice.
    pub fn object<'s>(
        &'s self,
        what: &str,
        known: &'static [&'static str],
    ) -> Result<Object<'s>, UsageError> {
        let Value::Object(fields) = self.value else {
            let give = format!("an object with {}", known.join(", "));
            return Err(self.refuse(what, &give));
        };
        let object = Object {
            path: &self.path,
            fields,
        };
        for (index, (name, value)) in fields.iter().enumerate() {
            let at = object.at(name, value);
            if !known.contains(&name.as_ref()) {
                return Err(at.error(format!("no such field; {what} has {}", known.join(", "))));
            }
            if fields[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(at.error("it is given twice; give it once"));
            }
        }
        Ok(object)
    }
}

/// An object, by the names of its fields.
pub(super) struct Object<'p> {
    path: &'p Path<'p>,
    fields: &'p [(Cow<'p, str>, Value<'p>)],
}

impl<'p> Object<'p> {
    fn at(&self, name: &'p str, value: &'p Value<'p>) -> At<'p> {
        At {
            path: Path::Field(self.path, name),
            value,
        }
    }

    /// A field that may be left out.
    pub fn optional(&self, name: &'static str) -> Option<At<'p>> {
        let field = self.fields.iter().find(|(given, _)| given == name)?;
        Some(self.at(name, &field.1))
    }

    /// A field that must be there: if it is not, reading it is refused with what
    /// it should be.
    pub fn required(&self, name: &'static str) -> At<'p> {
        self.optional(name)
            .unwrap_or_else(|| self.at(name, &Value::Missing))
    }
}
