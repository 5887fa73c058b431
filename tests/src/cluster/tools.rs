//! What `tests/run` installed: real clients and servers.
use std::fs;
use std::path::{Path, PathBuf};

/// A program of others, or why it is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// Where it lies.
    Here(PathBuf),
    /// `tests/run` could not install it, and says so in its summary as well.
    Missing(String),
}

impl Tool {
    /// Its place. Panics when `tests/run` has not been run, because a test that does nothing must not pass by accident.
    #[must_use]
    pub fn or_say_so(self) -> Option<PathBuf> {
        match self {
            Self::Here(path) => Some(path),
            Self::Missing(line) => {
                eprintln!("NOT RUN  {line}");
                None
            }
        }
    }
}

fn find(tools: &Path, place: &str, subject: &str) -> Tool {
    let missing = fs::read_to_string(tools.join("missing")).unwrap_or_default();
    // First, because half of an installation may lie there.
    if let Some(line) = missing.lines().find(|line| line.starts_with(subject)) {
        return Tool::Missing(line.to_owned());
    }
    let path = tools.join(place);
    assert!(path.exists(), "{subject} is not installed: run `tests/run tools`");
    Tool::Here(path)
}

fn directory() -> PathBuf {
    let here = std::env::current_exe().expect("the running program has a path");
    let target = here.ancestors().find(|path| path.join("test-tools").exists());
    target.expect("nothing is installed: run `tests/run tools`").join("test-tools")
}

/// The Python interpreter with `pulsar-client`.
#[must_use]
pub fn python() -> Tool {
    find(&directory(), "venv/bin/python", "Python client")
}

/// The program `prometheus`.
#[must_use]
pub fn prometheus() -> Tool {
    find(&directory(), "prometheus", "Dashboard tests")
}

/// Says that processes can have networks of their own.
#[must_use]
pub fn networks() -> Tool {
    find(&directory(), "networks", "Network fault tests")
}

/// The directory of the jars of Pulsar's own tools.
#[must_use]
pub fn java_tools() -> Tool {
    find(&directory(), "java/lib", "Java client")
}

/// SeaweedFS, which speaks S3.
#[must_use]
pub fn s3_server() -> Tool {
    find(&directory(), "venv/bin/weed", "S3 server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_could_not_be_installed_is_named() {
        let tools = tempfile::tempdir().expect("a directory");
        fs::write(tools.path().join("missing"), "Java client tests: no Java\n").expect("written");
        let found = find(tools.path(), "java/lib", "Java client");
        assert_eq!(found, Tool::Missing("Java client tests: no Java".into()));
        fs::create_dir_all(tools.path().join("java/lib")).expect("made");
        assert_eq!(find(tools.path(), "java/lib", "Java client"), found, "half of it may lie there");
        fs::write(tools.path().join("missing"), "").expect("written");
        assert_eq!(find(tools.path(), "java/lib", "Java client"), Tool::Here(tools.path().join("java/lib")));
    }

    #[test]
    #[should_panic(expected = "run `tests/run tools`")]
    fn a_tool_that_nobody_tried_to_install_fails_the_test() {
        let tools = tempfile::tempdir().expect("a directory");
        let _ = find(tools.path(), "java/lib", "Java client");
    }
}
