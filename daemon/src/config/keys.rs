//! The keys a configuration knows: the leaves of its defaults.
use serde_json::Value;

/// Dotted names and their defaults.
pub(super) struct Keys {
    leaves: Vec<(String, Value)>,
}

impl Keys {
    pub(super) fn of(defaults: &Value) -> Self {
        let mut leaves = vec![];
        collect(defaults, String::new(), &mut leaves);
        Self { leaves }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.leaves.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.names().any(|name| name == key)
    }

    pub(super) fn default_of(&self, key: &str) -> &Value {
        self.leaves.iter().find(|(name, _)| name == key).map_or(&Value::Null, |(_, default)| default)
    }

    /// The keys of the section `key`, or `None` when there is no such section.
    pub(super) fn below(&self, key: &str) -> Option<String> {
        let prefix = format!("{key}.");
        let below: Vec<String> =
            self.names().filter(|name| name.starts_with(&prefix)).map(|name| format!("`{name}`")).collect();
        (!below.is_empty()).then(|| below.join(", "))
    }

    /// The known key that `key` was most likely meant to be. A key in the wrong section is near.
    pub(super) fn nearest(&self, key: &str) -> &str {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let distance = |name: &str| edits(name, key).min(1 + edits(&last(name), &last(key)));
        self.names().min_by_key(|name| distance(name)).unwrap_or("none")
    }
}

fn collect(value: &Value, path: String, leaves: &mut Vec<(String, Value)>) {
    let Value::Object(children) = value else {
        leaves.push((path, value.clone()));
        return;
    };
    for (name, child) in children {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(child, path, leaves);
    }
}

/// Puts `value` at the dotted `key` of `tree`.
pub(super) fn set(tree: &mut Value, key: &str, value: Value) {
    let place = key.split('.').fold(tree, |place, name| &mut place[name]);
    *place = value;
}

/// How many characters were typed wrongly, left out, added or swapped with their neighbour.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().take(200).collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if 0 < i && 0 < j && left[i - 1] == *b && right[j - 1] == *a {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}
