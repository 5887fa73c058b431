//! One file, three programs: which of them was meant.
use std::ffi::OsStr;
use std::path::Path;

/// A program that the file can be called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Geminga,
    Broker,
    Bookie,
}

impl Program {
    /// By the name the process was called by, its first argument. Under any other name it is `geminga`.
    pub(crate) fn called(name: Option<&OsStr>) -> Self {
        match name.map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str) {
            Some("geminga-broker") => Self::Broker,
            Some("geminga-bookie") => Self::Bookie,
            _ => Self::Geminga,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_name_decides() {
        for (name, expected) in [
            ("geminga-broker", Program::Broker),
            ("/usr/local/bin/geminga-bookie", Program::Bookie),
            ("./geminga", Program::Geminga),
            ("geminga-broker/geminga", Program::Geminga),
            ("anything", Program::Geminga),
            ("", Program::Geminga),
        ] {
            assert_eq!(Program::called(Some(OsStr::new(name))), expected, "{name}");
        }
        assert_eq!(Program::called(None), Program::Geminga);
    }
}
