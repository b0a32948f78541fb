// SPDX-License-Identifier: GPL-2.0-only
//! Figures and the bounds they are held to: a wide one in tests, the promised one in `measure`.
//! Never measures anything.

use std::fmt;

/// Where a figure must lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Between these two, both included.
    Between(f64, f64),
}

impl Bound {
    /// Within `part` (0.1 is 10 %) of `of`.
    pub fn near(of: f64, part: f64) -> Self {
        Self::Between(of * (1.0 - part), of * (1.0 + part))
    }

    /// Exactly this count.
    pub fn exactly(count: usize) -> Self {
        Self::Between(count as f64, count as f64)
    }

    /// Whether `value` lies inside. NaN never does.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Between(least, most) => value >= least && value <= most,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {}", digits(*least)),
            Self::AtMost(most) => write!(f, "<= {}", digits(*most)),
            Self::Between(least, most) if least == most => write!(f, "= {}", digits(*least)),
            Self::Between(least, most) => write!(f, "{} to {}", digits(*least), digits(*most)),
        }
    }
}

/// A number as tables and messages show it: four decimals where it is small, else three.
pub fn digits(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e9 {
        format!("{value}")
    } else if value.abs() < 0.1 {
        format!("{value:.4}")
    } else {
        format!("{value:.3}")
    }
}

/// One measured number.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is, with its unit.
    pub name: String,
    /// The number.
    pub value: f64,
    /// What a test asserts: wide enough for a noisy host.
    pub test: Bound,
    /// What the project promises on this guest.
    pub target: Bound,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.target.holds(self.value) {
            "met"
        } else {
            "NOT met"
        };
        let value = digits(self.value);
        write!(
            f,
            "{}: {value}, target {}: {verdict}",
            self.name, self.target
        )
    }
}

#[cfg(test)]
mod unit {
    use super::{Bound, digits};

    #[test]
    fn bounds_include_their_ends_and_refuse_nan() {
        for (bound, good, bad) in [
            (Bound::AtLeast(0.95), 0.95, 0.949),
            (Bound::AtMost(1.0), 1.0, 1.1),
            (Bound::exactly(4), 4.0, 5.0),
            (Bound::near(0.5, 0.1), 0.55, 0.56),
        ] {
            assert!(bound.holds(good), "{bound} {good}");
            assert!(!bound.holds(bad), "{bound} {bad}");
            assert!(!bound.holds(f64::NAN), "{bound}");
        }
    }

    #[test]
    fn small_numbers_keep_their_digits() {
        assert_eq!(digits(0.014_43), "0.0144");
        assert_eq!(digits(7.96), "7.960");
        assert_eq!(digits(4.0), "4");
        assert_eq!(Bound::exactly(4).to_string(), "= 4");
    }
}
