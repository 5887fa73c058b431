//! Values of policies, read as kindly as Apache Pulsar reads them: numbers in quotes, with a fraction, or nothing at all.
use serde_json::{Map, Value};

use super::PolicyError;

/// Whole numbers that a policy may take, under the name that Pulsar's texts have for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    kind: &'static str,
    min: i64,
    max: i64,
}

/// 32 bits.
pub(super) const INT: Whole = Whole { kind: "int", min: i32::MIN as i64, max: i32::MAX as i64 };
/// 64 bits.
pub(super) const LONG: Whole = Whole { kind: "long", min: i64::MIN, max: i64::MAX };

impl Whole {
    /// A number; `None` for nothing. A fraction is cut off.
    pub(super) fn read(self, value: &Value) -> Result<Option<i64>, PolicyError> {
        let number = match value {
            Value::Null => return Ok(None),
            Value::Number(number) => number.to_string(),
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => text.trim().to_owned(),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(PolicyError::Malformed(format!("expected a number, not {}", kind_of(value))));
            }
        };
        let whole = match (number.parse::<i64>(), number.parse::<f64>(), value) {
            (Ok(whole), ..) => Some(whole),
            // In quotes, only whole numbers are numbers.
            (Err(_), Ok(fraction), Value::Number(_)) => cut(fraction),
            (Err(_), Ok(fraction), _) if fraction.is_finite() && fraction.fract() == 0.0 => cut(fraction),
            _ => {
                let kind = self.kind;
                return Err(PolicyError::Malformed(format!("\"{}\" is not a valid `{kind}` value", shorten(&number))));
            }
        };
        whole.filter(|whole| (self.min..=self.max).contains(whole)).map(Some).ok_or_else(|| {
            let Self { kind, min, max } = self;
            PolicyError::Malformed(format!(
                "Numeric value ({}) out of range of {kind} ({min} - {max})",
                shorten(&number)
            ))
        })
    }
}

/// `None`: no whole number of 64 bits.
fn cut(fraction: f64) -> Option<i64> {
    // 2^63, exactly: the first number that is too large.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    (-BOUND..BOUND).contains(&fraction).then_some(fraction as i64)
}

/// Yes or no; `None` for nothing.
pub(super) fn truth(value: &Value) -> Result<Option<bool>, PolicyError> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(truth) => Ok(Some(*truth)),
        Value::Number(number) if number.as_i64().is_some() => Ok(Some(number.as_i64() != Some(0))),
        Value::String(text) => match text.trim() {
            "" => Ok(None),
            "true" | "True" | "TRUE" => Ok(Some(true)),
            "false" | "False" | "FALSE" => Ok(Some(false)),
            other => Err(PolicyError::Malformed(format!("expected true or false, not \"{}\"", shorten(other)))),
        },
        Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(PolicyError::Malformed(format!("expected true or false, not {}", kind_of(value))))
        }
    }
}

/// A text; numbers and truth values are taken as they are written. `None` for nothing.
pub(super) fn text(value: &Value) -> Result<Option<String>, PolicyError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(PolicyError::Malformed(format!("expected a text, not {}", kind_of(value))))
        }
    }
}

/// The members of a policy. Unknown ones are for the caller to leave alone.
pub(super) fn object<'a>(value: &'a Value, policy: &str) -> Result<&'a Map<String, Value>, PolicyError> {
    let wrong = || PolicyError::Malformed(format!("expected an object with a {policy} policy, not {}", kind_of(value)));
    value.as_object().ok_or_else(wrong)
}

/// Says which member was wrong.
pub(super) fn within(member: &str, error: PolicyError) -> PolicyError {
    match error {
        PolicyError::Malformed(text) => PolicyError::Malformed(format!("{member}: {text}")),
        PolicyError::Refused(text) => PolicyError::Refused(format!("{member}: {text}")),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What Apache Pulsar 4.0.8 stored for these; `None`: it answered 400, or broke with 500.
    #[test]
    fn numbers_are_taken_as_pulsar_takes_them() {
        let parse = |text: &str| serde_json::from_str(text).unwrap();
        let cases: [(&str, Option<Option<i64>>); 17] = [
            ("5", Some(Some(5))),
            ("\"7\"", Some(Some(7))),
            ("\" 7 \"", Some(Some(7))),
            ("7.5", Some(Some(7))),
            ("-7.9", Some(Some(-7))),
            ("1e3", Some(Some(1000))),
            ("9223372036854775807", Some(Some(i64::MAX))),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(Some(i64::MIN))),
            ("1e300", None),
            ("null", Some(None)),
            ("\"\"", Some(None)),
            ("\"abc\"", None),
            ("\"NaN\"", None),
            ("true", None),
            ("[1]", None),
            ("{}", None),
        ];
        for (given, expected) in cases {
            assert_eq!(LONG.read(&parse(given)).ok(), expected, "{given}");
        }
        assert_eq!(INT.read(&json!(2_147_483_647)), Ok(Some(2_147_483_647)));
        assert_eq!(
            INT.read(&json!(2_147_483_648_i64)),
            Err(PolicyError::Malformed(
                "Numeric value (2147483648) out of range of int (-2147483648 - 2147483647)".into()
            ))
        );
    }

    #[test]
    fn texts_may_be_numbers_but_nothing_with_parts() {
        assert_eq!(text(&json!(5)), Ok(Some("5".into())));
        assert_eq!(text(&json!(null)), Ok(None));
        assert!(text(&json!({})).is_err() && text(&json!(["a"])).is_err());
    }
}
