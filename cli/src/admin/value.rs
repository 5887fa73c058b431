//! What may stand in an argument, and what it means to the server: every argument is read into the JSON that is sent.
use proto::{NamespaceName, TopicName};
use serde_json::{Value, json};

/// How an argument is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything, under this name in the help.
    Text(&'static str),
    Topic,
    /// A topic whose schemas are meant: the path does not name its domain.
    TopicOfSchema,
    Namespace,
    /// 0 and more.
    Count,
    /// Any, also with a fraction.
    Number,
    /// With a fraction.
    Price,
    /// `2026-11-26T18:00:00Z`, in milliseconds since 1970.
    Instant,
    /// Given or not.
    Switch,
    /// `10M`, in bytes. Negative numbers have a meaning of their own to the server.
    Bytes,
    /// `10M`, in whole MiB, rounded up.
    Mebibytes,
    /// `3h`, in seconds.
    Seconds,
    /// `3h`, in whole minutes, rounded up.
    Minutes,
    /// `3h`, in milliseconds.
    Millis,
    /// `latest`, `earliest` or `LEDGER:ENTRY`.
    Position,
    /// `a,b`; may be given several times.
    List,
    /// `a=1,b=2`; may be given several times.
    Properties,
    /// One of these, in upper case for the server.
    Choice(&'static [&'static str]),
    /// One of these, for the server as it stands here.
    Word(&'static [&'static str]),
    /// Not taken, for this reason.
    Refused(&'static str),
}

impl Kind {
    /// As the help calls it.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Topic | Self::TopicOfSchema => "TOPIC",
            Self::Namespace => "TENANT/NAMESPACE",
            Self::Count | Self::Number => "NUMBER",
            Self::Instant => "DATETIME",
            Self::Price => "DOLLARS",
            Self::Bytes | Self::Mebibytes => "SIZE",
            Self::Seconds | Self::Minutes | Self::Millis => "TIME",
            Self::Position => "latest|earliest|LEDGER:ENTRY",
            Self::List => "A,B",
            Self::Properties => "KEY=VALUE",
            Self::Text(name) => name,
            Self::Choice(_) | Self::Word(_) => "CHOICE",
            Self::Switch | Self::Refused(_) => "",
        }
    }

    /// Whether it may be given several times.
    pub(super) fn gathers(self) -> bool {
        matches!(self, Self::List | Self::Properties)
    }

    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text(_) if text.is_empty() => Err("it is empty".into()),
            Self::Text(_) => Ok(segment(text)?.into()),
            Self::Topic | Self::TopicOfSchema => {
                let name: TopicName = text.parse().map_err(|error| format!("{error}"))?;
                for part in [name.namespace().tenant(), name.namespace().namespace(), name.local()] {
                    segment(part)?;
                }
                Ok(name.to_string().into())
            }
            Self::Namespace => {
                let name: NamespaceName = text.parse().map_err(|_| "expected TENANT/NAMESPACE".to_owned())?;
                for part in [name.tenant(), name.namespace()] {
                    segment(part)?;
                }
                Ok(name.to_string().into())
            }
            Self::Count => Ok(text.parse::<u64>().map_err(|_| "expected a number".to_owned())?.into()),
            Self::Number => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => Ok(whole.into()),
                (_, Ok(number)) if number.is_finite() => Ok(number.into()),
                _ => Err("expected a number".into()),
            },
            Self::Instant => instant(text).map(Value::from).ok_or_else(|| {
                "expected a date and a time with its offset, such as 2026-11-26T18:00:00Z or 2026-11-26T18:00:00.5+08:00"
                    .into()
            }),
            Self::Price => match text.parse::<f64>() {
                Ok(price) if price.is_finite() && 0.0 <= price => Ok(price.into()),
                _ => Err("expected an amount of money, such as 0.023".into()),
            },
            Self::Switch => Ok((text == "true").into()), // `false` when it is not given.
            Self::Bytes => Ok(bytes(text)?.into()),
            Self::Mebibytes => Ok(whole(bytes(text)?, 1 << 20).into()),
            Self::Seconds => Ok(seconds(text)?.into()),
            Self::Minutes => Ok(whole(seconds(text)?, 60).into()),
            Self::Millis => Ok(seconds(text)?.saturating_mul(1000).into()),
            Self::Position => position(text),
            Self::List => Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()),
            Self::Properties => properties(text),
            Self::Choice(names) => {
                let chosen = names.iter().find(|name| name.eq_ignore_ascii_case(text));
                let chosen = chosen.ok_or_else(|| format!("expected one of {}", names.join(", ")))?;
                Ok(chosen.to_uppercase().replace('-', "_").into())
            }
            Self::Word(names) => {
                let chosen = names.iter().find(|name| name.eq_ignore_ascii_case(text));
                Ok(Value::from(*chosen.ok_or_else(|| format!("expected one of {}", names.join(", ")))?))
            }
            Self::Refused(why) => Err(why.into()),
        }
    }
}

/// In a path, one dot or two would stand for another page, however they are encoded.
fn segment(text: &str) -> Result<&str, String> {
    if matches!(text, "." | "..") { Err(format!("`{text}` is no name")) } else { Ok(text) }
}

/// Whole units of `unit`, and never less than what was asked to be kept. What is negative is no amount and stays as it is.
fn whole(amount: i64, unit: i64) -> i64 {
    if amount < 0 { amount } else { amount / unit + i64::from(amount % unit != 0) }
}

/// The number before a unit of one letter, and what the letter stands for.
fn scaled(text: &str, units: &[(char, i64)], without: i64) -> Option<i64> {
    let last = text.chars().next_back()?;
    let (digits, unit) = match units.iter().find(|(letter, _)| letter.eq_ignore_ascii_case(&last)) {
        Some((_, unit)) => (&text[..text.len() - last.len_utf8()], *unit),
        None => (text, without),
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

fn bytes(text: &str) -> Result<i64, String> {
    const UNITS: [(char, i64); 4] = [('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)];
    scaled(text, &UNITS, 1).ok_or_else(|| "expected a size: a number, or one with K, M, G or T, such as 10M".into())
}

fn seconds(text: &str) -> Result<i64, String> {
    const UNITS: [(char, i64); 6] =
        [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 7 * 86_400), ('y', 365 * 86_400)];
    scaled(text, &UNITS, 1)
        .ok_or_else(|| "expected a time: a number of seconds, or one with s, m, h, d, w or y, such as 3h".into())
}

/// Milliseconds since 1970 of `2026-11-26T18:00:00.123+08:00`; seconds may be left out.
fn instant(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, offset) = rest.split_at(at);
    let number =
        |text: &str| Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<i64>().ok();
    let mut parts = date.splitn(3, '-').map(|part| number(part).filter(|part| *part <= 9999));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let clock = |text: &str| {
        let mut parts = text.split(':').map(number);
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
        let is_time = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
        is_time.then_some((hour * 60 + minute) * 60 + second)
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let millis = number(&fraction.chars().chain("000".chars()).take(3).collect::<String>())?;
    let offset = match offset.split_at(1) {
        ("Z" | "z", "") => 0,
        ("+", text) => clock(text)?,
        (_, text) => -clock(text)?,
    };
    let days = days_until(year, month, day)?;
    Some(((days * 86_400 + clock(time)? - offset) * 1000) + millis)
}

/// Days from 1970 to a date in the Gregorian calendar.
fn days_until(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let at = usize::try_from(month).ok()?.checked_sub(1)?;
    let is_day = (1..=*lengths.get(at)?).contains(&day);
    let before = year - 1;
    let of_years = before * 365 + before / 4 - before / 100 + before / 400 - 719_162; // Up to 1970.
    is_day.then(|| of_years + lengths[..at].iter().sum::<i64>() + day - 1)
}

fn position(text: &str) -> Result<Value, String> {
    let place = |ledger: i64, entry: i64| json!({"ledgerId": ledger, "entryId": entry, "partitionIndex": -1});
    match text {
        "earliest" => Ok(place(-1, -1)),
        "latest" => Ok(place(i64::MAX, i64::MAX)),
        _ => {
            let parts =
                text.split_once(':').and_then(|(ledger, entry)| Some((ledger.parse().ok()?, entry.parse().ok()?)));
            let (ledger, entry) = parts.ok_or("expected latest, earliest or LEDGER:ENTRY, such as 12:0")?;
            Ok(place(ledger, entry))
        }
    }
}

fn properties(text: &str) -> Result<Value, String> {
    let pairs = text.split(',').map(|pair| pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())));
    let pairs: Option<Vec<_>> = pairs.collect();
    let pairs = pairs.filter(|pairs| pairs.iter().all(|(key, _)| !key.is_empty()));
    let pairs = pairs.ok_or("expected KEY=VALUE, or several with commas between them")?;
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect())
}
