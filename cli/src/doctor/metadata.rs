//! Whether the metadata store answers, how quickly, and what it knows.
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metadata::{Key, MetadataStore, MetadataStoreExt};
use proto::keys;
use serde_json::{Value, json};

use super::report::{Finding, Report};

const WITHIN: Duration = Duration::from_secs(5);
const LOOKS: usize = 20;
/// Leases last 2 s and are renewed three times in that.
const SLOW: Duration = Duration::from_millis(200);
/// The header `Date` counts whole seconds.
const ASKEW: Duration = Duration::from_secs(3);

/// Looks at every member by itself, whose clock should not be far from `now`, since 1970, and at all of them as a process would use them.
pub(super) async fn examine(
    url: &str,
    cluster: &str,
    now: Duration,
    report: &mut Report,
) -> Option<Arc<dyn MetadataStore>> {
    let client = reqwest::Client::builder().timeout(WITHIN).no_proxy().build().ok()?;
    let members = url.strip_prefix("etcd://").unwrap_or_default();
    for member in members.split(',').filter(|member| !member.is_empty()) {
        match ask(&client, member, now).await {
            Ok(member) => {
                report.note("clock", member.clock);
                report.note("etcd", member.condition);
            }
            Err(reason) => report.note("etcd", Finding::Odd(format!("{member} does not answer: {reason}"))),
        }
    }
    let store = match ::metadata::connect(url, cluster).await {
        Ok(store) => store,
        Err(error) => {
            report.note("metadata", Finding::Bad(format!("{url}: {error}")));
            return None;
        }
    };
    match read_often(store.as_ref()).await {
        Ok(took) => report.note("metadata", judge(url, took)),
        Err(reason) => {
            report.note("metadata", Finding::Bad(format!("{url}: {reason}; is etcd there, and is `metadata` right?")));
            return None;
        }
    }
    Some(store)
}

struct Member {
    clock: Finding,
    condition: Finding,
}

async fn ask(client: &reqwest::Client, member: &str, now: Duration) -> Result<Member, String> {
    let reason = |error: reqwest::Error| error.without_url().to_string();
    let answer = client.get(format!("http://{member}/health")).send().await.map_err(reason)?;
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(seconds_of);
    let clock =
        date.map_or_else(|| Finding::Odd(format!("{member} does not tell the time")), |date| askew(member, date, now));
    let alarms = client.post(format!("http://{member}/v3/maintenance/alarm")).json(&json!({"action": "GET"})).send();
    let alarms: Value = alarms.await.map_err(reason)?.json().await.map_err(reason)?;
    Ok(Member { clock, condition: alarmed(member, &alarms) })
}

fn alarmed(member: &str, alarms: &Value) -> Finding {
    let names: Vec<&str> =
        alarms["alarms"].as_array().into_iter().flatten().filter_map(|one| one["alarm"].as_str()).collect();
    match names.as_slice() {
        [] => Finding::Good(format!("{member} answers and raises no alarm")),
        names => Finding::Bad(format!(
            "{member} raises {}: it takes no writes; give it space (compact, defragment, a larger quota), then disarm the alarm",
            names.join(", ")
        )),
    }
}

fn askew(member: &str, theirs: Duration, ours: Duration) -> Finding {
    let apart = theirs.abs_diff(ours);
    let text = format!("{} s apart from {member}", apart.as_secs());
    if apart <= ASKEW {
        return Finding::Good(text);
    }
    Finding::Odd(format!(
        "{text}: retention, expiry and delayed delivery go by the clock; let NTP set it on all machines"
    ))
}

/// Seconds since 1970 of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn seconds_of(date: &str) -> Option<Duration> {
    let mut parts = date.split_whitespace().skip(1);
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    // Days of the civil calendar, counted in years that begin in March.
    let (year, from_march) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + day - 1 - 719_468;
    let clock: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock.as_slice() else { return None };
    u64::try_from(days * 86_400 + hours * 3600 + minutes * 60 + seconds).ok().map(Duration::from_secs)
}

/// The time of one read, of several.
async fn read_often(store: &dyn MetadataStore) -> Result<Duration, String> {
    let mut took = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let begun = Instant::now();
        store.get(&Key::from(keys::CLUSTER)).await.map_err(|error| error.to_string())?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[LOOKS / 2])
}

fn judge(url: &str, took: Duration) -> Finding {
    let text = format!("{url} answers in {:.1} ms", took.as_secs_f64() * 1e3);
    if took <= SLOW {
        return Finding::Good(text);
    }
    Finding::Odd(format!("{text}: leases of 2 s may be lost; etcd wants a disk of its own and a near network"))
}

/// Whether as many bookies are there as a broker's quorum wants.
pub(super) async fn bookies(store: &dyn MetadataStore, ensemble: u32, write: u32, ack: u32) -> Finding {
    let count = async |prefix: &str| store.list_all(prefix).await.map(|found| found.len());
    match (count(keys::BOOKIES_AVAILABLE).await, count(keys::BOOKIES).await) {
        (Ok(live), Ok(known)) => enough(live, known, ensemble, write, ack),
        (Err(error), _) | (_, Err(error)) => Finding::Bad(format!("cannot be listed: {error}")),
    }
}

fn enough(live: usize, known: usize, ensemble: u32, write: u32, ack: u32) -> Finding {
    let text = format!("{live} of {known} are there, for ensembles of {ensemble}, {write} copies, {ack} confirmed");
    let at_least = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    if known < at_least(ensemble) || live < at_least(ack) {
        return Finding::Bad(format!(
            "{text}: nothing can be published; start more bookies or choose a smaller quorum"
        ));
    }
    if live < at_least(write) {
        return Finding::Odd(format!("{text}: new ledgers lack copies until more bookies are there"));
    }
    Finding::Good(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(784_111_777)));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 00:00:00 GMT"), Some(Duration::from_secs(1_709_164_800)));
        assert_eq!(seconds_of("tomorrow"), None);
    }

    #[test]
    fn a_clock_that_is_far_off_is_odd() {
        let at = Duration::from_secs;
        assert!(matches!(askew("e", at(1000), at(1002)), Finding::Good(_)));
        assert!(matches!(askew("e", at(1000), at(990)), Finding::Odd(_)));
    }

    #[test]
    fn an_alarm_is_bad() {
        assert!(matches!(alarmed("e", &json!({})), Finding::Good(_)));
        let full = json!({"alarms": [{"memberID": "1", "alarm": "NOSPACE"}]});
        assert!(matches!(alarmed("e", &full), Finding::Bad(text) if text.contains("NOSPACE")));
    }

    #[test]
    fn too_few_bookies_are_told() {
        assert!(matches!(enough(3, 3, 3, 3, 2), Finding::Good(_)));
        assert!(matches!(enough(2, 3, 3, 3, 2), Finding::Odd(_)));
        assert!(matches!(enough(1, 3, 3, 3, 2), Finding::Bad(_)));
        assert!(matches!(enough(2, 2, 3, 3, 2), Finding::Bad(_)));
    }
}
