//! The URL of a broker.
use std::fmt;
use std::str::FromStr;

use daemon::HostPort;

/// `pulsar://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerUrl {
    address: HostPort,
}

const PORT: u16 = 6650;

impl BrokerUrl {
    pub(crate) fn address(&self) -> &HostPort {
        &self.address
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pulsar://{}", self.address)
    }
}

impl FromStr for BrokerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |what: &str| format!("--url: `{text}` {what}; write pulsar://HOST:PORT");
        if text.starts_with("pulsar+ssl://") {
            return Err(wrong("asks for TLS, which this version does not speak"));
        }
        let rest = text.strip_prefix("pulsar://").ok_or_else(|| wrong("is not the URL of a broker"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(',') {
            return Err(wrong("names several brokers: name one, it finds the others"));
        }
        let parsed = rest.parse().or_else(|_| format!("{rest}:{PORT}").parse());
        let address: HostPort = parsed.map_err(|_: String| wrong("is not the URL of a broker"))?;
        if address.host.contains(['/', '@', '?', '#']) {
            return Err(wrong("is not the URL of a broker"));
        }
        Ok(Self { address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_with_and_without_a_port() {
        for (text, expected) in [
            ("pulsar://localhost:6650", "pulsar://localhost:6650"),
            ("pulsar://localhost/", "pulsar://localhost:6650"),
            ("pulsar://10.0.0.1:7", "pulsar://10.0.0.1:7"),
            ("pulsar://[::1]", "pulsar://[::1]:6650"),
            ("pulsar://[::1]:7/", "pulsar://[::1]:7"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().map(|url| url.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_broker_is_refused() {
        for text in [
            "",
            "localhost:6650",
            "http://localhost",
            "pulsar://",
            "pulsar://:1",
            "pulsar://a:x",
            "pulsar://a/b",
            "pulsar://a:1,b:2",
            "pulsar+ssl://a",
        ] {
            assert!(text.parse::<BrokerUrl>().is_err_and(|problem| problem.contains("--url")), "{text}");
        }
    }
}
