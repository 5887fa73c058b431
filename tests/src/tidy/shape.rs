//! How long files and functions are, what they are called, and how they begin.
use super::{Code, Finding, Source};

/// Lines of a file outside its test module.
pub(super) const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from its first to its closing brace.
pub(super) const FUNCTION_LINES_MAX: usize = 70;
/// They say nothing about what is inside.
const NAMES_BANNED: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "misc", "manager", "types", "managers"];

/// Files longer than the limit.
#[must_use]
pub fn long_files(code: &Code<'_>) -> Vec<Finding> {
    let whole = code.source.is_test();
    let lines = code.test.iter().filter(|test| whole || !**test).count();
    let rule = || format!("{lines} lines: the limit is {FILE_LINES_MAX}; which two nouns are in here?");
    if FILE_LINES_MAX < lines { vec![Finding::new(code.source, 0, rule())] } else { Vec::new() }
}

/// Functions longer than the limit.
#[must_use]
pub fn long_functions(code: &Code<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line, _) in code.numbered() {
        if !begins_function(line) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let rest = &code.lines[number - 1..];
        let closes = |line: &String| line.trim_end() == end;
        let bodiless = rest.iter().position(|line| line.trim_end().ends_with(';')).unwrap_or(usize::MAX);
        let opens = rest.iter().position(|line| line.trim_end().ends_with('{')).unwrap_or(usize::MAX);
        let Some(length) = rest.iter().position(closes).map(|at| at + 1) else { continue };
        if opens < bodiless && FUNCTION_LINES_MAX < length {
            let rule = format!("function of {length} lines: the limit is {FUNCTION_LINES_MAX}");
            found.push(Finding::new(code.source, number, rule));
        }
    }
    found
}

fn begins_function(line: &str) -> bool {
    const BEFORE: [&str; 7] = ["pub", "pub(crate)", "pub(super)", "async", "const", "extern", "unsafe"];
    line.split_whitespace().find(|word| !BEFORE.contains(word)) == Some("fn")
}

/// Files and directories whose names say nothing.
#[must_use]
pub fn names(source: &Source) -> Vec<Finding> {
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    let banned = parts.filter(|part| NAMES_BANNED.contains(part));
    banned.map(|part| Finding::new(source, 0, format!("`{part}` says nothing: name the noun it is about"))).collect()
}

/// Modules that do not say what they are for.
#[must_use]
pub fn module_heads(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//!") || source.is_test() {
        return Vec::new();
    }
    vec![Finding::new(source, 1, "begins without `//!`: say what the module owns and promises")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, line: &str) -> String {
        format!("{line}\n").repeat(count)
    }

    #[test]
    fn a_file_may_have_as_many_lines_as_the_limit_says_and_no_more() {
        let long = |text: String| long_files(&Code::of(&Source::new("broker/src/a.rs", &text))).len();
        assert_eq!(long(lines(FILE_LINES_MAX, "const A: u8 = 1;")), 0);
        assert_eq!(long(lines(FILE_LINES_MAX + 1, "const A: u8 = 1;")), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500, "    const A: u8 = 1;"));
        assert_eq!(long(lines(FILE_LINES_MAX, "const A: u8 = 1;") + &tests), 0);
    }

    #[test]
    fn a_function_may_have_as_many_lines_as_the_limit_says_and_no_more() {
        let long = |head: &str, body: usize| {
            let text = format!("impl A {{\n    {head}\n{}    }}\n}}\n", lines(body, "        one();"));
            long_functions(&Code::of(&Source::new("broker/src/a.rs", &text))).len()
        };
        for head in ["fn a() {", "pub(crate) async fn a(b: u8) -> u8 {"] {
            assert_eq!(long(head, FUNCTION_LINES_MAX - 2), 0);
            assert_eq!(long(head, FUNCTION_LINES_MAX - 1), 1);
        }
        let two = format!("fn a(\n    b: u8,\n) {{\n{}}}\nfn c();\n", lines(FUNCTION_LINES_MAX, "    one();"));
        assert_eq!(long_functions(&Code::of(&Source::new("broker/src/a.rs", &two))).len(), 1);
    }

    #[test]
    fn names_without_meaning_are_found_in_any_place() {
        assert_eq!(names(&Source::new("broker/src/utils.rs", "")).len(), 1);
        assert_eq!(names(&Source::new("broker/src/common/ledger.rs", "")).len(), 1);
        assert_eq!(names(&Source::new("broker/src/topic/mod.rs", "")).len(), 0);
    }

    #[test]
    fn a_module_says_first_what_it_is_for() {
        assert_eq!(module_heads(&Source::new("broker/src/a.rs", "use b;\n")).len(), 1);
        assert_eq!(module_heads(&Source::new("broker/src/a.rs", "//! Owns a.\n")).len(), 0);
    }
}
