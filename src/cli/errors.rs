// SPDX-License-Identifier: GPL-2.0-only
//! clap's errors as one line each: the flag, what was given, what to give.
//! Never decides what is an error.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::Cli;
use crate::usage::UsageError;

/// clap's error as one line: the flag, what was given, what to give.
pub(super) fn usage_error(error: &clap::Error) -> UsageError {
    let flag = context(error, ContextKind::InvalidArg)
        .map(|arg| flag_of(&arg))
        .unwrap_or_default();
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let detail = match error.kind() {
        ErrorKind::UnknownArgument => unknown_argument(error, &flag),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if value.is_empty() => {
            "it needs a value".to_string()
        }
        ErrorKind::InvalidValue => invalid_value(error, &value),
        ErrorKind::ValueValidation => rejected_value(error, &value),
        ErrorKind::MissingRequiredArgument => "it is missing, and needed; try --help".to_string(),
        ErrorKind::InvalidSubcommand => return unknown_command(error),
        ErrorKind::TooManyValues => format!("it takes no value, and '{value}' was given"),
        ErrorKind::ArgumentConflict if context(error, ContextKind::InvalidSubcommand).is_some() => {
            return flag_before_command(error);
        }
        ErrorKind::ArgumentConflict => match context(error, ContextKind::PriorArg) {
            Some(other) if flag_of(&other) != flag => format!("it excludes {}", flag_of(&other)),
            _ => "it was given twice; give it once".to_string(),
        },
        _ => first_line(error),
    };
    if flag.is_empty() {
        UsageError::plain(detail)
    } else {
        UsageError::new(&flag, detail)
    }
}

/// The error that an argument is not text, of which clap does not say which one.
pub(super) fn not_text(args: &[OsString]) -> UsageError {
    // What is wrong with the text closest to it names the flag and what to give.
    let text = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    if let Err(error) = Cli::try_parse_from(text)
        && error.use_stderr()
    {
        return usage_error(&error);
    }
    let is_wrong = |arg: &OsString| arg.to_str().is_none();
    let at = args.iter().position(is_wrong).unwrap_or_default();
    let is_flag = |arg: &&OsString| arg.as_encoded_bytes().starts_with(b"-");
    let flag = args[..=at].iter().rev().find(is_flag);
    let flag = flag.unwrap_or(&args[at]).to_string_lossy();
    let flag = flag.split('=').next().unwrap_or_default();
    UsageError::new(flag, "its value is not UTF-8 text; give text")
}

fn unknown_command(error: &clap::Error) -> UsageError {
    let command = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    no_such_command(
        &command,
        context(error, ContextKind::SuggestedSubcommand).as_deref(),
    )
}

fn no_such_command(command: &str, similar: Option<&str>) -> UsageError {
    match similar {
        Some(similar) => {
            UsageError::new(command, format!("no such command; did you mean {similar}?"))
        }
        None => UsageError::new(command, "no such command; try --help"),
    }
}

/// The scheduler's flags ahead of a command would have no effect there.
fn flag_before_command(error: &clap::Error) -> UsageError {
    let command = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    if Cli::command().find_subcommand(&command).is_none() {
        return no_such_command(&command, None);
    }
    let flags = context(error, ContextKind::PriorArg).unwrap_or_default();
    let flags: Vec<String> = flags.split(", ").map(flag_of).collect();
    UsageError::new(
        &flags.join(", "),
        format!(
            "{command} does not take the scheduler's flags; see `scx_ballast {command} --help`"
        ),
    )
}

/// `--interval` of clap's `--interval <SECS>`, `--verbose` of `--verbose...`.
fn flag_of(arg: &str) -> String {
    let end = arg
        .find([' ', '[', '=', '.'])
        .filter(|_| arg.starts_with('-'));
    arg[..end.unwrap_or(arg.len())].to_string()
}

fn unknown_argument(error: &clap::Error, arg: &str) -> String {
    if !arg.starts_with('-') {
        return "it is one argument too many; try --help".to_string();
    }
    match context(error, ContextKind::SuggestedArg) {
        Some(similar) => format!("no such flag; did you mean {}?", flag_of(&similar)),
        None => "no such flag; try --help".to_string(),
    }
}

/// A value that is not one of a few.
fn invalid_value(error: &clap::Error, value: &str) -> String {
    match context(error, ContextKind::ValidValue) {
        Some(valid) => format!("'{value}' is not possible; give one of {valid}"),
        None => format!("'{value}' is not possible"),
    }
}

/// A value that our parser refused; what it said is the error's source.
fn rejected_value(error: &clap::Error, value: &str) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match reason {
        Some(reason) => format!("'{value}' is not possible; {reason}"),
        None => format!("'{value}' is not possible"),
    }
}

/// What clap would say first, without its heading.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_string()
}

/// One fact of a clap error, as text.
fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    }
}
