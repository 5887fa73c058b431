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
    test: bool,
}

impl Source {
    /// For tests and for [`sources`].
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let under_tests = path.contains("/tests/") || path.starts_with("tests/") || path.contains("/benches/");
        let test = under_tests || path.ends_with("/tests.rs") || path.ends_with("/conformance.rs");
        Self { path: path.into(), text: text.into(), test }
    }

    /// Whether the whole file is test code: by its place, or because its parent declares it under `#[cfg(test)]`.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.test
    }

    /// The modules that this file declares under `#[cfg(test)]`, as the beginnings of their paths.
    fn test_modules(&self) -> Vec<String> {
        let directory = match self.path.rsplit_once('/') {
            Some((directory, "mod.rs" | "lib.rs" | "main.rs")) => directory.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let mut found = Vec::new();
        let mut lines = self.text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let declared =
                if line == "#[cfg(test)]" { lines.next().and_then(|line| line.split_once("mod ")) } else { None };
            let name = declared.and_then(|(_, rest)| rest.split_once(';')).map(|(name, _)| name);
            found.extend(name.map(|name| format!("{directory}/{name}")));
        }
        found
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
    mark_test_modules(&mut found);
    Ok(found)
}

fn mark_test_modules(found: &mut [Source]) {
    let modules: Vec<String> = found.iter().flat_map(Source::test_modules).collect();
    for source in found {
        let inside = |module: &String| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        source.test = source.test || modules.iter().any(inside);
    }
}

fn read(root: &Path, path: PathBuf) -> std::io::Result<Source> {
    let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
    let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
    Ok(Source::new(&relative, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_test_code() {
        let parent = Source::new("broker/src/log/mod.rs", "mod chain;\n#[cfg(test)]\npub(crate) mod rig;\n");
        let names =
            ["broker/src/log/rig.rs", "broker/src/log/rig/a.rs", "broker/src/log/chain.rs", "broker/src/log/rigs.rs"];
        let mut all: Vec<Source> = names.iter().map(|name| Source::new(name, "")).collect();
        all.push(parent);
        mark_test_modules(&mut all);
        let test: Vec<bool> = all.iter().map(Source::is_test).collect();
        assert_eq!(test, [true, true, false, false, false]);
    }
}
