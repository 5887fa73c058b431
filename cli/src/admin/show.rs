//! What people see of an answer.
use serde_json::Value;

/// A piece of what is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Names with values, one a line.
    Fields(&'static [Column]),
    /// A row for each element of a list, or for each member of an object, whose name then comes first.
    Rows { at: &'static str, name: &'static str, columns: &'static [Column] },
}

/// A heading, where its value stands (a JSON pointer), and how it reads.
pub(super) type Column = (&'static str, &'static str, Format);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    /// `1.5 MiB`.
    Bytes,
    /// One digit after the point.
    Rate,
    /// How many there are.
    Length,
}

/// The chosen parts, with an empty line between two.
pub(super) fn parts(parts: &[Part], value: &Value) -> String {
    let shown = parts.iter().map(|part| match part {
        Part::Fields(columns) => {
            fields(columns.iter().map(|(name, at, format)| ((*name).into(), cell(value.pointer(at), *format))))
        }
        Part::Rows { at, name, columns } => rows(value.pointer(at), name, columns),
    });
    shown.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

fn rows(list: Option<&Value>, name: &str, columns: &[Column]) -> String {
    let cells =
        |value: &Value| columns.iter().map(|(_, at, format)| cell(value.pointer(at), *format)).collect::<Vec<_>>();
    let mut headings: Vec<&str> = columns.iter().map(|(heading, _, _)| *heading).collect();
    let rows: Vec<Vec<String>> = match list {
        Some(Value::Array(list)) => list.iter().map(cells).collect(),
        Some(Value::Object(members)) => {
            headings.insert(0, name);
            members.iter().map(|(name, value)| [vec![name.clone()], cells(value)].concat()).collect()
        }
        _ => Vec::new(),
    };
    table(&headings, &rows)
}

/// What the shape of an answer suggests.
pub(super) fn shape(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(list) if list.iter().all(Value::is_object) => {
            let mut headings: Vec<&str> = Vec::new();
            for name in list.iter().filter_map(Value::as_object).flat_map(|members| members.keys()) {
                if !headings.contains(&name.as_str()) {
                    headings.push(name);
                }
            }
            let row = |value: &Value| headings.iter().map(|name| cell(value.get(*name), Format::Plain)).collect();
            table(&headings, &list.iter().map(row).collect::<Vec<_>>())
        }
        Value::Array(list) => list.iter().map(|value| cell(Some(value), Format::Plain) + "\n").collect(),
        Value::Object(_) => {
            let mut found = Vec::new();
            flatten("", value, &mut found);
            fields(found.into_iter())
        }
        scalar => cell(Some(scalar), Format::Plain) + "\n",
    }
}

/// Members of members as `outer.inner`.
fn flatten(prefix: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, found);
            }
        }
        value => found.push((prefix.into(), cell(Some(value), Format::Plain))),
    }
}

fn fields(fields: impl Iterator<Item = (String, String)>) -> String {
    let fields: Vec<(String, String)> = fields.collect();
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    fields.into_iter().map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned() + "\n").collect()
}

fn cell(value: Option<&Value>, format: Format) -> String {
    match (value, format) {
        (None | Some(Value::Null), _) => "-".into(),
        (Some(Value::Number(number)), Format::Bytes) => number.as_u64().map_or_else(|| number.to_string(), bytes),
        (Some(Value::Number(number)), Format::Rate) => format!("{:.1}", number.as_f64().unwrap_or(0.0)),
        (Some(Value::Array(list)), Format::Length) => list.len().to_string(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(Value::Array(list)), _) if list.iter().all(|value| !value.is_object() && !value.is_array()) => {
            list.iter().map(|value| cell(Some(value), Format::Plain)).collect::<Vec<_>>().join(", ")
        }
        (Some(value), _) => value.to_string(),
    }
}

/// In the largest unit of which there is one.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, shift)| 1 << shift <= count) {
        Some((unit, shift)) => format!("{:.1} {unit}", count as f64 / (1_u64 << shift) as f64),
        None => format!("{count} B"),
    }
}

/// Columns of one width under headings. Columns of numbers stand to the right. No rows are no text.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let is_number =
        |text: &String| text == "-" || text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(':');
    let columns: Vec<(usize, bool)> = (0..headings.len())
        .map(|column| {
            let cells = || rows.iter().filter_map(move |row| row.get(column));
            let widest = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
            let right = cells().all(is_number) && cells().any(|cell| cell != "-");
            (widest.max(headings[column].chars().count()), right)
        })
        .collect();
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let padded = row
            .iter()
            .zip(&columns)
            .map(|(cell, (width, right))| if *right { format!("{cell:>width$}") } else { format!("{cell:width$}") });
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
