// SPDX-License-Identifier: GPL-2.0-only
//! Command lines read the same way by both programs: bad usage is one line and exit code 2.
//! Never knows any flag.

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use scx_ballast::usage::parser_message;

/// Reads the command line. Help and version are printed and end the process with code 0.
///
/// # Errors
/// The exit code, after one line on stderr that names the argument.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    match T::try_parse() {
        Ok(arguments) => Ok(arguments),
        Err(why) if why.use_stderr() => Err(refuse(parser_message(&why.to_string()))),
        Err(help) => help.exit(),
    }
}

/// Prints `error: <why>` and gives exit code 2: bad usage or input.
pub fn refuse(why: impl Display) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(2)
}
