//! Which series a query reads, and which a page of metrics shows. Pure: no socket, no clock.
use std::iter::Peekable;
use std::str::Chars;

/// What Prometheus adds to every series by itself.
const ADDED: [&str; 2] = ["instance", "job"];
/// What Prometheus tells of a target that it scrapes.
const TOLD_BY_PROMETHEUS: &str = "up";
/// Words that stand where a metric could.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
/// Words with a list of labels in parentheses.
const WITH_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// A metric, and the labels it has or must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Its name.
    pub metric: String,
    /// Names, and the value where exactly one is wanted.
    pub labels: Vec<(String, Option<String>)>,
}

type Text<'a> = Peekable<Chars<'a>>;

/// All series that `expression` reads.
#[must_use]
pub fn selectors(expression: &str) -> Vec<Selector> {
    let (mut text, mut found) = (expression.chars().peekable(), Vec::new());
    while let Some(first) = text.next() {
        match first {
            '"' => drop(quoted(&mut text)),
            '[' => skip_past(&mut text, ']'),
            // A number or a duration.
            '0'..='9' => drop(word(first, &mut text)),
            _ if is_of_name(first) => {
                let name = word(first, &mut text);
                skip_space(&mut text);
                match text.peek().copied() {
                    Some('(') if WITH_LABELS.contains(&name.as_str()) => skip_past(&mut text, ')'),
                    Some('(') => {}
                    Some('{') => found.push(Selector { metric: name, labels: labels(&mut text) }),
                    _ if OPERATORS.contains(&name.as_str()) || is_aggregation(&text) => {}
                    _ => found.push(Selector { metric: name, labels: Vec::new() }),
                }
            }
            _ => {}
        }
    }
    found
}

/// Of `wanted`, those that none of `pages` shows.
#[must_use]
pub fn not_shown(wanted: &[Selector], pages: &[String]) -> Vec<Selector> {
    let shown: Vec<Selector> = pages.iter().flat_map(|page| series(page)).collect();
    let fits = |wanted: &Selector, shown: &Selector| {
        let has = |(name, value): &(String, Option<String>)| {
            let same = |(other, given): &(String, Option<String>)| other == name && (value.is_none() || given == value);
            ADDED.contains(&name.as_str()) || shown.labels.iter().any(same)
        };
        shown.metric == wanted.metric && wanted.labels.iter().all(has)
    };
    let missing =
        |wanted: &&Selector| wanted.metric != TOLD_BY_PROMETHEUS && !shown.iter().any(|shown| fits(wanted, shown));
    wanted.iter().filter(missing).cloned().collect()
}

/// The samples of a page in Prometheus' text format.
fn series(page: &str) -> Vec<Selector> {
    let samples = page.lines().filter(|line| line.starts_with(is_of_name));
    let sample = |line: &str| {
        let mut text = line.chars().peekable();
        let metric = text.next().map(|first| word(first, &mut text)).unwrap_or_default();
        Selector { metric, labels: labels(&mut text) }
    };
    samples.map(sample).collect()
}

/// `{name="value", …}`, or nothing where something else follows.
fn labels(text: &mut Text<'_>) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    if text.next_if_eq(&'{').is_none() {
        return found;
    }
    while let Some(first) = text.next() {
        match first {
            '}' => break,
            _ if is_of_name(first) => {
                let name = word(first, text);
                let mut operator = String::new();
                while let Some(symbol) = text.next_if(|symbol| *symbol != '"') {
                    operator.push(symbol);
                }
                text.next();
                let value = quoted(text);
                found.push((name, (operator.trim() == "=").then_some(value)));
            }
            _ => {}
        }
    }
    found
}

/// Whether `sum` and the like stand before this: `sum by (…) (…)`.
fn is_aggregation(text: &Text<'_>) -> bool {
    let mut ahead = text.clone();
    let Some(first) = ahead.next().filter(|first| is_of_name(*first)) else { return false };
    matches!(word(first, &mut ahead).as_str(), "by" | "without")
}

fn is_of_name(symbol: char) -> bool {
    symbol.is_ascii_alphabetic() || matches!(symbol, '_' | ':')
}

fn word(first: char, text: &mut Text<'_>) -> String {
    let mut word = String::from(first);
    while let Some(next) = text.next_if(|next| is_of_name(*next) || next.is_ascii_digit() || *next == '.') {
        word.push(next);
    }
    word
}

/// To the closing quote; the opening one was read.
fn quoted(text: &mut Text<'_>) -> String {
    let mut value = String::new();
    while let Some(symbol) = text.next().filter(|symbol| *symbol != '"') {
        value.push(if symbol == '\\' { text.next().unwrap_or(symbol) } else { symbol });
    }
    value
}

fn skip_past(text: &mut Text<'_>, end: char) {
    text.find(|symbol| *symbol == end);
}

fn skip_space(text: &mut Text<'_>) {
    while text.next_if(|symbol| symbol.is_whitespace()).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(expression: &str) -> Vec<String> {
        selectors(expression).into_iter().map(|selector| selector.metric).collect()
    }

    #[test]
    fn metrics_are_told_from_everything_else_in_a_query() {
        assert_eq!(names("up"), ["up"]);
        assert_eq!(names("topk(10, sum by (topic, x) (rate(in_total{t=~\"a b\"}[5m])))"), ["in_total"]);
        assert_eq!(names("a / scalar(sum(b))"), ["a", "b"]);
        assert_eq!(names("count by (i) (s unless s offset 1m) or 0 * max without (q) (c)"), ["s", "s", "c"]);
        assert_eq!(names("a + on (x) group_left (y) b > bool 1.5e3"), ["a", "b"]);
        assert_eq!(names("label_replace(a, \"to\", \"$1\", \"from\", \"(.*)\")"), ["a"]);
    }

    #[test]
    fn labels_are_read_with_the_value_that_is_wanted() {
        let [found] = &selectors("a{b=\"1\", c=~\"x}\", d!=\"2\"}")[..] else { panic!("one series") };
        let expected = [("b", Some("1")), ("c", None), ("d", None)];
        assert_eq!(found.labels, expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))));
    }

    #[test]
    fn what_no_page_shows_is_found() {
        let page = "# HELP a text\n# TYPE a gauge\na{q=\"0.5\",t=\"x, \\\"y\\\"\"} 1\nb 2\n".to_owned();
        let missing = |expression: &str| not_shown(&selectors(expression), std::slice::from_ref(&page)).len();
        for shown in
            ["a", "b", "up{job=\"x\"}", "a{q=\"0.5\"}", "a{t=~\".*\", instance=\"i\"}", "a{t=\"x, \\\"y\\\"\"}"]
        {
            assert_eq!(missing(shown), 0, "{shown}");
        }
        for wrong in ["c", "a{q=\"0.9\"}", "b{q=~\".*\"}", "HELP", "a_total"] {
            assert_eq!(missing(wrong), 1, "{wrong}");
        }
    }
}
