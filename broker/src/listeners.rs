//! The other addresses of a broker: one for each way by which clients come.
use std::collections::BTreeMap;

use daemon::HostPort;

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListenersError {
    /// Write it another way.
    #[error("`{0}` is not NAME:pulsar://HOST:PORT")]
    Malformed(String),
    /// Leave one of them out.
    #[error("`{0}` is named twice")]
    Twice(String),
}

/// `NAME:pulsar://HOST:PORT[,…]`, as names with `host:port`.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, ListenersError> {
    let mut listeners = BTreeMap::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let malformed = || ListenersError::Malformed(one.into());
        let (name, address) = one.split_once(":pulsar://").ok_or_else(malformed)?;
        let address = address.parse::<HostPort>().map_err(|_| malformed())?;
        if name.is_empty() || address.port == 0 {
            return Err(malformed());
        }
        if listeners.insert(name.to_owned(), address.to_string()).is_some() {
            return Err(ListenersError::Twice(name.into()));
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_a_name_and_an_address() {
        let parsed = parse("inside:pulsar://10.0.0.1:6650, outside:pulsar://broker.example.org:16650").unwrap();
        let expected = [("inside", "10.0.0.1:6650"), ("outside", "broker.example.org:16650")];
        assert_eq!(parsed, expected.map(|(name, address)| (name.into(), address.into())).into());
        assert_eq!(parse(""), Ok(BTreeMap::new()));
        for wrong in
            ["inside", "inside:10.0.0.1:6650", ":pulsar://a:1", "a:pulsar://b", "a:pulsar://b:0", "a:pulsar+ssl://b:1"]
        {
            assert!(matches!(parse(wrong), Err(ListenersError::Malformed(_))), "{wrong}");
        }
        assert_eq!(parse("a:pulsar://b:1,a:pulsar://c:1"), Err(ListenersError::Twice("a".into())));
    }
}
