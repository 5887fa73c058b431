//! Words that must not stand in code, each with what to write instead.
use super::{Code, Finding, Source};

/// Where a word is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Everywhere,
    Product,
    Tests,
}

const EVERYWHERE: [(&str, &str); 4] = [
    ("allow(unsafe_code)", "do without, or let one place do it for all"),
    ("dbg!(", "leave no debugging behind"),
    ("#[ignore", "a test that does not run is no test"),
    ("thread::sleep", "wait for a condition, with a deadline"),
];

const PRODUCT: [(&str, &str); 9] = [
    ("todo!(", "build it or leave it out visibly"),
    ("unimplemented!(", "build it or leave it out visibly"),
    (".unwrap()", "handle it, or `expect` with the reason why it cannot fail"),
    ("unbounded_channel", "every queue has a number"),
    ("SystemTime::now", "take the time from the clock that is passed in"),
    ("thread_rng", "take the randomness that is passed in"),
    ("rand::rng()", "take the randomness that is passed in"),
    ("rand::random", "take the randomness that is passed in"),
    ("task_local!", "pass it as an argument"),
];

/// Real time in tests. Where time is paused, a sleep is a step of the script and costs nothing.
const TESTS: [(&str, &str); 1] = [("sleep(", "wait for a condition, with a deadline")];

/// Programs whose time is paused as a whole, by where they stand.
const PAUSED: [&str; 1] = ["tests/tests/simulation/"];

/// Where a banned word may stand after all: the end of a path, the word, and here why.
const OWNERS: [(&str, &str); 5] = [
    ("daemon/src/memory.rs", "allow(unsafe_code)"), // How the allocator is told what to keep.
    ("/clock.rs", "SystemTime::now"),               // The place that owns the time.
    ("/src/main.rs", "SystemTime::now"),            // Where it is handed in from.
    ("metadata/tests/etcd/main.rs", "sleep("),      // A real server stands still for longer than an attempt lasts.
    ("metadata/tests/etcd/server.rs", "sleep("),    // Looks again until a deadline.
];

/// Code words that are banned where they stand.
#[must_use]
pub fn banned_words(code: &Code<'_>) -> Vec<Finding> {
    let paused = ["start_paused", "time::pause()"].iter().any(|word| code.source.text.contains(word))
        || PAUSED.iter().any(|path| code.source.path.starts_with(path));
    let tables = [(Where::Everywhere, &EVERYWHERE[..]), (Where::Product, &PRODUCT[..]), (Where::Tests, &TESTS[..])];
    let mut found = Vec::new();
    for (number, line, test) in code.numbered() {
        for (place, table) in tables {
            let applies = match place {
                Where::Everywhere => true,
                Where::Product => !test,
                Where::Tests => test && !paused,
            };
            let banned = table.iter().filter(|(word, _)| applies && line.contains(word));
            let banned = banned.filter(|(word, _)| !is_owner(code.source, word));
            found.extend(banned.map(|(word, why)| Finding::new(code.source, number, format!("`{word}`: {why}"))));
        }
    }
    found
}

fn is_owner(source: &Source, word: &str) -> bool {
    OWNERS.iter().any(|(path, owned)| *owned == word && source.path.ends_with(path))
}

/// Directories of the machines this was built on. Put together here, so that this file does not name them.
const PLACES: [&str; 3] = ["work", "root", "farm"];

/// Paths that exist on one machine only.
#[must_use]
pub fn machine_paths(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for place in PLACES {
            let path = format!("/{place}/");
            let begins =
                |at: usize| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "-_.}>)*".contains(c));
            if line.match_indices(&path).any(|(at, _)| begins(at)) {
                found.push(Finding::new(source, index + 1, format!("`{path}` is a path of one machine")));
            }
        }
    }
    found
}

/// Work put off without an issue that would bring it back.
#[must_use]
pub fn todos(source: &Source) -> Vec<Finding> {
    let word = concat!("TO", "DO");
    let open = |line: &str| line.split(word).skip(1).any(|after| !after.starts_with("(#") && !after.starts_with(" #"));
    let lines = source.text.lines().enumerate().filter(|(_, line)| open(line));
    lines.map(|(index, _)| Finding::new(source, index + 1, "name the issue: (#number)")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        banned_words(&Code::of(&Source::new(path, text))).len()
    }

    #[test]
    fn each_banned_word_is_found_in_product_code() {
        for (word, _) in EVERYWHERE.iter().chain(&PRODUCT) {
            assert_eq!(count("broker/src/a.rs", &format!("fn a() {{ {word} }}\n")), 1, "{word}");
        }
    }

    #[test]
    fn what_only_tests_may_do_is_allowed_there() {
        let test = |line: &str| format!("#[cfg(test)]\nmod tests {{\n    {line}\n}}\n");
        assert_eq!(count("broker/src/a.rs", &test("a.unwrap();")), 0);
        assert_eq!(count("broker/src/a.rs", &test("tokio::time::sleep(SECOND).await;")), 1);
        assert_eq!(count("broker/src/a.rs", &test("#[tokio::test(start_paused = true)] sleep(SECOND).await;")), 0);
        assert_eq!(count("broker/src/a.rs", &test("#[ignore]")), 1);
        assert_eq!(count("tests/tests/system/main.rs", "std::thread::sleep(SECOND);"), 2);
        assert_eq!(count("tests/tests/simulation/wires.rs", "sleep(latency).await;"), 0);
    }

    #[test]
    fn comments_and_owners_may_name_what_is_banned() {
        assert_eq!(count("broker/src/a.rs", "// Never calls SystemTime::now.\n"), 0);
        assert_eq!(count("broker/src/clock.rs", "SystemTime::now()\n"), 0);
        assert_eq!(count("broker/src/clock.rs", "unbounded_channel()\n"), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found_anywhere() {
        let paths = |text: &str| machine_paths(&Source::new("docs/a.md", text)).len();
        for place in PLACES {
            assert_eq!(paths(&format!("see /{place}/main\n")), 1, "{place}");
            assert_eq!(paths(&format!("see a/{place}/main\n")), 0, "{place}");
        }
    }

    #[test]
    fn work_put_off_names_its_issue() {
        let open = |text: &str| todos(&Source::new("broker/src/a.rs", text)).len();
        assert_eq!(open(concat!("// TO", "DO later\n")), 1);
        assert_eq!(open(concat!("// TO", "DO(#12): later\n")), 0);
    }
}
