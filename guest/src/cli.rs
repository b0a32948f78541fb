// SPDX-License-Identifier: GPL-2.0-only
//! Command lines read the same way by both programs: bad usage is one line and exit code 2.
//! Never knows any flag.

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;

/// Reads the command line. Help and version are printed and end the process with code 0.
///
/// # Errors
/// The exit code, after one line on stderr that names the argument.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    match T::try_parse() {
        Ok(arguments) => Ok(arguments),
        Err(why) if why.use_stderr() => Err(refuse(one_line(&why.to_string()))),
        Err(help) => help.exit(),
    }
}

/// Prints `error: <why>` and gives exit code 2: bad usage or input.
pub fn refuse(why: impl Display) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(2)
}

/// The message of a parser error: its lines up to the first empty one, joined.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let message: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    message.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod unit {
    use super::one_line;

    #[test]
    fn usage_hints_are_left_out() {
        let text = "error: required arguments are missing:\n  <GROUP>...\n\nUsage: x <GROUP>\n";
        assert_eq!(one_line(text), "required arguments are missing: <GROUP>...");
    }
}
