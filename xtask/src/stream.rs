// SPDX-License-Identifier: GPL-2.0-only
//! Owns the protocol between the guest's init and the harness: marker lines in the output.
//! Must never lose a byte of the script's own output, save serial noise.

/// One event of the guest's output.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest booted, and the script starts.
    Started,
    /// A line of the script's output, with its line end if it had one.
    Text(String),
    /// The script ended with this status.
    Exited(u8),
}

/// Recognises the markers of one run. Each run has its own key, so that a script that prints
/// another run's output does not end itself.
pub struct Markers {
    prefix: String,
}

impl Markers {
    /// The markers that carry `key`.
    pub fn new(key: &str) -> Markers {
        Markers {
            prefix: format!("@@ballast:{key}:"),
        }
    }

    /// What one raw line means: up to two events, because a script's last line may lack its end.
    pub fn read(&self, raw: &[u8]) -> Vec<Event> {
        let text = clean(raw);
        let Some((before, marker)) = text.split_once(&self.prefix) else {
            return vec![Event::Text(text)];
        };
        let event = match marker.trim_end().split_once('=') {
            None if marker.trim_end() == "start" => Event::Started,
            Some(("exit", status)) => match status.parse() {
                Ok(status) => Event::Exited(status),
                Err(_) => return vec![Event::Text(text)],
            },
            _ => return vec![Event::Text(text)],
        };
        match before.is_empty() {
            true => vec![event],
            false => vec![Event::Text(before.to_string()), event],
        }
    }
}

/// Drops carriage returns, NULs and the firmware's screen codes; repairs broken UTF-8.
fn clean(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw)
        .chars()
        .filter(|character| !matches!(character, '\r' | '\0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_passes_and_carriage_returns_do_not() {
        let events = Markers::new("k").read(b"hello\r\n");
        assert_eq!(events, [Event::Text("hello\n".into())]);
    }

    #[test]
    fn markers_are_recognised() {
        let markers = Markers::new("k");
        assert_eq!(markers.read(b"@@ballast:k:start\n"), [Event::Started]);
        assert_eq!(markers.read(b"@@ballast:k:exit=7\n"), [Event::Exited(7)]);
    }

    #[test]
    fn text_without_a_line_end_before_the_marker_is_kept() {
        assert_eq!(
            Markers::new("k").read(b"50 %@@ballast:k:exit=0\n"),
            [Event::Text("50 %".into()), Event::Exited(0)]
        );
    }

    #[test]
    fn another_key_or_a_broken_status_is_text() {
        let markers = Markers::new("k");
        for line in [
            "@@ballast:other:exit=0\n",
            "@@ballast:k:exit=999\n",
            "@@ballast:k:\n",
        ] {
            assert_eq!(markers.read(line.as_bytes()), [Event::Text(line.into())]);
        }
    }
}
