// SPDX-License-Identifier: GPL-2.0-only
//! Owns the names of Debian's cloud kernel packages and the choice among them.
//! Must never ask the archive: it is given the names that exist.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

const FLAVOUR: &str = "-cloud-amd64";

/// What the user asks for: `6.18`, or one Debian build of a series, `7.2+deb13`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    major: u32,
    minor: u32,
    debian: Option<u32>,
}

/// A release as package names spell it: `7.2.13+deb14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Release {
    major: u32,
    minor: u32,
    patch: u32,
    debian: u32,
}

/// Which packages hold a series' kernel and its configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    release: Release,
    config_release: Release,
    /// The package with the image.
    pub image_package: String,
    /// The package with the configuration; often the same.
    pub config_package: String,
}

impl Plan {
    /// Chooses among the packages of an archive: the newest Debian build, then the newest
    /// patch, because a later Debian release builds with the later BTF tools.
    ///
    /// # Errors
    /// When no package is of this series.
    pub fn of(series: &Series, names: &[String]) -> Result<Plan> {
        let newest = |kind: &str| {
            releases(kind, names)
                .filter(|release| series.includes(*release))
                .max_by_key(|release| (release.debian, release.patch))
        };
        // Split packages came with 6.19: there the image package is empty.
        if let Some(release) = newest("binary") {
            let Some(config_release) = nearest(release, releases("base", names)) else {
                bail!("the archive has no kernel configuration for {release}");
            };
            return Ok(Plan {
                release,
                config_release,
                image_package: package("binary", release),
                config_package: package("base", config_release),
            });
        }
        let Some(release) = newest("image") else {
            bail!(
                "the Debian archive has no cloud kernel {series} with sched_ext; it has {}",
                available(names)
            );
        };
        Ok(Plan {
            release,
            config_release: release,
            image_package: package("image", release),
            config_package: package("image", release),
        })
    }

    /// The packages to download, each once.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        let config = Some(self.config_package.as_str());
        let config = config.filter(|config| *config != self.image_package);
        std::iter::once(self.image_package.as_str()).chain(config)
    }

    /// The kernel's name, as `uname -r` prints it.
    pub fn kernel_name(&self) -> String {
        format!("{}{FLAVOUR}", self.release)
    }

    /// The name of the kernel whose configuration is used.
    pub fn config_name(&self) -> String {
        format!("{}{FLAVOUR}", self.config_release)
    }

    /// The archive drops configurations sooner than images.
    pub fn config_is_borrowed(&self) -> bool {
        self.config_release != self.release
    }
}

impl Series {
    fn includes(&self, release: Release) -> bool {
        (self.major, self.minor) == (release.major, release.minor)
            && self.debian.is_none_or(|debian| debian == release.debian)
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Series, String> {
        let wrong = || "a kernel series is MAJOR.MINOR, such as 6.18 or 7.2+deb13".to_string();
        let (version, debian) = match text.split_once("+deb") {
            Some((version, debian)) => (version, Some(debian.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (major, minor) = version.split_once('.').ok_or_else(wrong)?;
        Ok(Series {
            major: major.parse().map_err(|_| wrong())?,
            minor: minor.parse().map_err(|_| wrong())?,
            debian,
        })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.debian {
            Some(debian) => write!(f, "+deb{debian}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Release {
            major,
            minor,
            patch,
            debian,
        } = self;
        write!(f, "{major}.{minor}.{patch}+deb{debian}")
    }
}

fn package(kind: &str, release: Release) -> String {
    format!("linux-{kind}-{release}{FLAVOUR}")
}

/// The releases that have a package of this kind: image, binary or base.
fn releases<'a>(kind: &'a str, names: &'a [String]) -> impl Iterator<Item = Release> + 'a {
    names.iter().filter_map(move |name| {
        let rest = name.strip_prefix("linux-")?.strip_prefix(kind)?;
        parse_release(rest.strip_prefix('-')?.strip_suffix(FLAVOUR)?)
    })
}

fn parse_release(text: &str) -> Option<Release> {
    let (version, debian) = text.split_once("+deb")?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let release = Release {
        major: numbers.next()??,
        minor: numbers.next()??,
        patch: numbers.next()??,
        debian: debian.parse().ok()?,
    };
    numbers.next().is_none().then_some(release)
}

/// The same release, else the first after it, else the last before it.
fn nearest(wanted: Release, candidates: impl Iterator<Item = Release>) -> Option<Release> {
    candidates.min_by_key(|candidate| match *candidate >= wanted {
        true => (false, *candidate, std::cmp::Reverse(*candidate)),
        false => (true, wanted, std::cmp::Reverse(*candidate)),
    })
}

fn available(names: &[String]) -> String {
    let mut series: Vec<_> = releases("image", names)
        .map(|release| (release.major, release.minor))
        .collect();
    series.sort_unstable();
    series.dedup();
    let series: Vec<_> = series
        .iter()
        .map(|(major, minor)| format!("{major}.{minor}"))
        .collect();
    series.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        [
            "linux-image-6.18.9+deb13-cloud-amd64",
            "linux-image-6.18.15+deb13-cloud-amd64",
            "linux-image-6.18.15+deb13-cloud-amd64-dbg",
            "linux-image-6.18.15+deb13-rt-amd64",
            "linux-image-7.0.13+deb13-cloud-amd64",
            "linux-binary-7.0.13+deb13-cloud-amd64",
            "linux-image-7.2.13+deb14-cloud-amd64",
            "linux-binary-7.2.14+deb13-cloud-amd64",
            "linux-binary-7.2.13+deb14-cloud-amd64",
            "linux-binary-unsigned-7.2.13+deb14-cloud-amd64",
            "linux-base-7.2.6+deb13-cloud-amd64",
            "linux-base-7.2.13+deb14-cloud-amd64",
            "linux-base-7.3.4+deb13-cloud-amd64",
            "linux-image-cloud-amd64",
        ]
        .map(String::from)
        .into()
    }

    fn plan(series: &str) -> Plan {
        Plan::of(&series.parse().expect("a series"), &names()).expect("in the archive")
    }

    #[test]
    fn patch_levels_are_numbers_not_text() {
        let plan = plan("6.18");
        assert_eq!(plan.image_package, "linux-image-6.18.15+deb13-cloud-amd64");
        assert_eq!(plan.packages().count(), 1);
        assert!(!plan.config_is_borrowed());
    }

    #[test]
    fn the_newer_debian_build_wins_over_the_newer_patch() {
        let plan = plan("7.2");
        assert_eq!(plan.kernel_name(), "7.2.13+deb14-cloud-amd64");
        assert_eq!(plan.config_package, "linux-base-7.2.13+deb14-cloud-amd64");
    }

    #[test]
    fn a_debian_build_can_be_named() {
        assert_eq!(plan("7.2+deb13").kernel_name(), "7.2.14+deb13-cloud-amd64");
    }

    #[test]
    fn a_vanished_configuration_is_borrowed_from_the_next_release() {
        let plan = plan("7.0");
        assert_eq!(plan.image_package, "linux-binary-7.0.13+deb13-cloud-amd64");
        assert_eq!(plan.config_package, "linux-base-7.2.6+deb13-cloud-amd64");
        assert!(plan.config_is_borrowed());
    }

    #[test]
    fn after_the_last_configuration_the_one_before_is_used() {
        let wanted = parse_release("7.4.1+deb13").expect("a release");
        let names = names();
        let found = nearest(wanted, releases("base", &names)).expect("there are some");
        assert_eq!(found.to_string(), "7.3.4+deb13");
    }

    #[test]
    fn an_absent_series_lists_those_there_are() {
        let refusal = Plan::of(&"5.10".parse().expect("a series"), &names()).expect_err("absent");
        assert!(refusal.to_string().ends_with("it has 6.18, 7.0, 7.2"));
    }

    #[test]
    fn a_series_is_two_numbers() {
        for wrong in ["", "6", "6.x", "6.18.15", "7.2+debx", "v6.18"] {
            assert!(wrong.parse::<Series>().is_err(), "{wrong}");
        }
        for right in ["6.18", "7.2+deb13"] {
            assert_eq!(right.parse::<Series>().expect("fine").to_string(), right);
        }
    }
}
