//! The layer that is a TOML file. Every fault is named with the file's path and the line.
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{Given, GivenValue, Layers};

/// A configuration has at most some dozen lines. More is another file, given by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Adds what the file at `path` says to `layers`.
pub(super) fn read(path: &Path, layers: &mut Layers) {
    let text = match text_of(path) {
        Ok(text) => text,
        Err(problem) => return layers.fault(format!("{}: {problem}", path.display())),
    };
    let (root, errors) = DeTable::parse_recoverable(&text);
    let place = Place { path, text: &text };
    if errors.is_empty() {
        walk(root.get_ref(), "", &place, layers);
    }
    for error in errors {
        let origin = place.origin(error.span().unwrap_or_default());
        layers.fault(format!("{origin}: {}", error.message().trim().replace('\n', "; ")));
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = vec![];
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if FILE_BYTES_MAX < bytes.len() as u64 {
        return Err("is larger than 1 MiB, which no configuration is".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("line {} is not UTF-8", 1 + good.iter().filter(|byte| **byte == b'\n').count())
    })
}

struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn origin(&self, span: Range<usize>) -> String {
        let before = self.text.as_bytes().iter().take(span.start);
        format!("{}:{}", self.path.display(), 1 + before.filter(|byte| **byte == b'\n').count())
    }
}

fn walk(table: &DeTable<'_>, path: &str, place: &Place<'_>, layers: &mut Layers) {
    for (name, value) in table {
        let key = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
        let origin = place.origin(name.span());
        match value.get_ref() {
            _ if layers.keys.has(&key) => match typed(value) {
                Ok(value) => layers.given.push(Given { origin, key, value: GivenValue::Typed(value) }),
                Err(problem) => layers.fault(format!("{origin}: {key}: {problem}")),
            },
            DeValue::Table(inner) if layers.keys.below(&key).is_some() => walk(inner, &key, place, layers),
            _ => layers.refuse_key(&origin, &key),
        }
    }
}

fn typed(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map(Value::from)
            .map_err(|_| "the number is out of range".to_owned())?,
        DeValue::Float(digits) => {
            let number = digits.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).ok_or_else(|| "the number is not finite".to_owned())?
        }
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(typed).collect::<Result<_, _>>()?),
        DeValue::Table(_) => return Err("is a value, not a section".into()),
    })
}
