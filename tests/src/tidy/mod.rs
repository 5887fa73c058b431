//! The rules of the house that a machine can read, as functions over text: `tests/tidy.rs` applies them to the whole tree.
//!
//! Promises: a finding names file, line and rule. Each rule has a test in which it finds a made-up violation.
//! Never: knows Rust's grammar. It relies on rustfmt, which runs first, for where things begin and end.
mod code; // From one file's text to the whole workspace.
mod shape;
mod words;
mod workspace;

pub use code::{Code, lines_of_tests, without_comments_and_texts};
pub use shape::{long_files, long_functions, module_heads, names};
pub use words::{banned_words, machine_paths, todos};
pub use workspace::{Manifest, arrows, crate_fields, missing_keys, pure_proto, undocumented_metrics};

use std::fmt;
use std::path::{Path, PathBuf};

/// One file of the tree.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the root of the tree, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// For tests and for [`sources`].
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Whether the whole file is test code.
    #[must_use]
    pub fn is_test(&self) -> bool {
        let under_tests =
            self.path.contains("/tests/") || self.path.starts_with("tests/") || self.path.contains("/benches/");
        under_tests || self.path.ends_with("/tests.rs") || self.path.ends_with("/conformance.rs")
    }

    /// The file's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A rule that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which file.
    pub path: String,
    /// Counted from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong and what to do.
    pub rule: String,
}

impl Finding {
    /// In the whole file when `line` is 0.
    #[must_use]
    pub fn new(source: &Source, line: usize, rule: impl fmt::Display) -> Self {
        Self { path: source.path.clone(), line, rule: rule.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "data"];

/// Every text file below `root` whose name ends with one of `endings`.
pub fn sources(root: &Path, endings: &[&str]) -> std::io::Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !SKIPPED.contains(&name.as_str()) && !entry.path().join("CACHEDIR.TAG").exists() {
                    directories.push(entry.path());
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(read(root, entry.path())?);
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn read(root: &Path, path: PathBuf) -> std::io::Result<Source> {
    let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
    let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
    Ok(Source { path: relative, text })
}
