// SPDX-License-Identifier: GPL-2.0-only
//! The error for bad usage: one line that names the flag and what to give instead.
//! Never prints or exits; the caller prints it on stderr and exits with 2.

use std::borrow::Cow;
use std::fmt;

/// What the user typed cannot be used. Prints as exactly one line, whatever
/// was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    line: String,
}

impl UsageError {
    /// An error about `flag`, for example `--interval`.
    pub fn new(flag: &str, detail: impl fmt::Display) -> UsageError {
        UsageError::plain(format!("{flag}: {detail}"))
    }

    /// An error about the command line as a whole.
    pub fn plain(message: impl fmt::Display) -> UsageError {
        UsageError {
            line: one_line(&message.to_string()),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for UsageError {}

/// The start of `text`, so that an error stays readable.
pub fn shorten(text: &str) -> Cow<'_, str> {
    shorten_to(text, 60)
}

/// The first `max_chars` characters of `text`, and what says that there are more.
pub fn shorten_to(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The message of a parser error, as clap prints it: its lines up to the first empty one, joined.
/// Usage and hints follow that.
pub fn parser_message(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let message: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    message.join(" ").trim_start_matches("error: ").to_owned()
}

/// Escapes control characters: typed text must neither break the line nor
/// reach the terminal as an escape sequence.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_hints_are_left_out() {
        let text = "error: required arguments are missing:\n  <GROUP>...\n\nUsage: x <GROUP>\n";
        assert_eq!(
            parser_message(text),
            "required arguments are missing: <GROUP>..."
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let error = UsageError::new("--interval", "'a\nb\u{1b}[31m\u{2028}é' is wrong");
        assert_eq!(
            error.to_string(),
            "--interval: 'a\\nb\\u{1b}[31m\\u{2028}é' is wrong"
        );
    }
}
