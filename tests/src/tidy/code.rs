//! What in a Rust file is code, what is comment or text, and what is test.
use super::Source;

/// A file with comments and texts blanked out, and its test lines marked. Lines keep their numbers.
#[derive(Debug)]
pub struct Code<'a> {
    /// Where it comes from.
    pub source: &'a Source,
    /// Line by line, without comments and the contents of texts.
    pub lines: Vec<String>,
    /// Whether a line belongs to tests.
    pub test: Vec<bool>,
}

impl<'a> Code<'a> {
    /// Reads one file.
    #[must_use]
    pub fn of(source: &'a Source) -> Self {
        let lines: Vec<String> = without_comments_and_texts(&source.text).lines().map(str::to_owned).collect();
        let test = if source.is_test() { vec![true; lines.len()] } else { lines_of_tests(&lines) };
        Self { source, lines, test }
    }

    /// Lines with their numbers, counted from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        self.lines.iter().zip(&self.test).enumerate().map(|(index, (line, test))| (index + 1, line.as_str(), *test))
    }
}

/// Which lines lie in a module marked `#[cfg(test)]`.
#[must_use]
pub fn lines_of_tests(lines: &[String]) -> Vec<bool> {
    let mut marks = vec![false; lines.len()];
    let mut index = 0;
    while index < lines.len() {
        let marker = &lines[index];
        if !marker.trim_start().starts_with("#[cfg(test)]") {
            index += 1;
            continue;
        }
        let indent = marker.len() - marker.trim_start().len();
        let opened = lines[index..].iter().take(3).any(|line| line.contains("mod ") && line.ends_with('{'));
        let closes = |line: &String| line.trim_end() == format!("{}}}", " ".repeat(indent));
        let length = if opened { lines[index..].iter().position(closes).map_or(1, |at| at + 1) } else { 2 };
        let end = (index + length).min(lines.len());
        marks[index..end].fill(true);
        index = end;
    }
    marks
}

/// Blanks comments, texts and characters. Line breaks stay.
#[must_use]
pub fn without_comments_and_texts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => text_length(rest),
            'r' if starts_raw(rest) && !ends_in_word(&out) => raw_length(rest),
            '\'' => character_length(rest),
            _ => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            }
        };
        if next == '\'' && length == 1 {
            out.push(next); // A lifetime.
        } else {
            out.extend(rest[..length].chars().filter(|c| *c == '\n'));
            if next == '"' || next == 'r' {
                out.push_str("\"\"");
            }
        }
        rest = &rest[length..];
    }
    out
}

fn ends_in_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn starts_raw(rest: &str) -> bool {
    rest[1..].trim_start_matches('#').starts_with('"') && (rest[1..].starts_with('#') || rest[1..].starts_with('"'))
}

fn raw_length(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    let open = 2 + hashes;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
}

fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Of a character like `'a'` or `'\n'`; 1 for a lifetime.
fn character_length(rest: &str) -> usize {
    if rest.starts_with("'\\") {
        return rest[3..].find('\'').map_or(1, |at| at + 4);
    }
    let mut characters = rest.char_indices().skip(2);
    match characters.next() {
        Some((at, '\'')) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code() {
        let code = "let a = \"x // y\"; // z\nlet b = '\"'; /* c\n */ let d: &'a str = r#\"e \" f\"#;\n";
        assert_eq!(without_comments_and_texts(code), "let a = \"\"; \nlet b = ; \n let d: &'a str = \"\";\n");
    }

    #[test]
    fn a_test_module_is_known_from_its_mark_to_its_end() {
        let lines: Vec<String> =
            ["fn a() {}", "#[cfg(test)]", "mod tests {", "    fn b() {}", "}", "fn c() {}"].map(str::to_owned).to_vec();
        assert_eq!(lines_of_tests(&lines), [false, true, true, true, true, false]);
    }
}
