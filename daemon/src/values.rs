//! Values that configurations are made of.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// All that is wrong with a configuration, collected so that an operator fixes a file once.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<String>,
}

impl Problems {
    /// Notes a problem with `key` unless `good`.
    pub fn unless(&mut self, good: bool, key: &str, problem: impl fmt::Display) {
        if !good {
            self.found.push(format!("{key}: {problem}"));
        }
    }

    /// In the order they were found.
    #[must_use]
    pub fn found(&self) -> &[String] {
        &self.found
    }
}

/// A number of bytes, written `64 MiB`, `1GiB`, `4096` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// From kibibytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// From mebibytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: &u32| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(|(_, shift)| whole(shift)) {
            Some((unit, shift)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "0 B"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = (&text[..split], text[split..].trim());
        let shift = match unit {
            "" => Some(0),
            _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, shift)| *shift),
        };
        let number = digits.parse::<u64>().ok();
        number
            .zip(shift)
            .and_then(|(number, shift)| number.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size: write a number and B, KiB, MiB or GiB"))
    }
}

/// `HOST:PORT`; an IPv6 host stands in brackets. Port 0 picks a free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// 0 picks a free one.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not HOST:PORT (an IPv6 host stands in brackets: [::1]:6650)");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self { host: host.into(), port })
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

serde_as_text!(ByteSize, HostPort);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_they_are_written() {
        for text in ["0 B", "1 B", "1500 B", "64 KiB", "3 MiB", "2 GiB"] {
            assert_eq!(text.parse::<ByteSize>().map(|size| size.to_string()), Ok(text.to_string()));
        }
        assert_eq!("64mib".parse(), Ok(ByteSize::mib(64)));
        for bad in ["", "MiB", "-1", "1.5 MiB", "1 parsec", "99999999999 GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_read_as_they_are_written() {
        for text in ["[::]:6650", "localhost:0", "10.0.0.1:8080"] {
            assert_eq!(text.parse::<HostPort>().map(|address| address.to_string()), Ok(text.to_string()));
        }
        for bad in ["", "6650", ":6650", "::1:6650", "host:", "host:70000", "ho st:1"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
