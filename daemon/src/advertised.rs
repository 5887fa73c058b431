//! The address by which others reach this process.
use std::net::{IpAddr, Ipv6Addr};

use crate::{Failure, HostPort};

/// The address to publish: `given` (the value of the key `advertised_address`: `HOST` or `HOST:PORT`, by default with the port
/// that was `bound`), else the host of `listen`, else, when that means every address, this machine's name.
/// Never loopback for a wildcard, which would send everybody to themselves.
pub fn advertised(given: Option<&str>, listen: &HostPort, bound: u16) -> Result<HostPort, Failure> {
    resolve(given, listen, bound, &gethostname::gethostname().to_string_lossy())
}

fn resolve(given: Option<&str>, listen: &HostPort, bound: u16, machine: &str) -> Result<HostPort, Failure> {
    if let Some(text) = given {
        let address = parse(text, bound).ok_or_else(|| {
            Failure::usage(format!("advertised_address: `{text}` is neither HOST nor HOST:PORT (IPv6 in brackets)"))
        })?;
        if is_wildcard(&address.host) {
            return Err(Failure::usage(format!("advertised_address: nobody can connect to `{}`", address.host)));
        }
        return Ok(address);
    }
    if !is_wildcard(&listen.host) {
        return Ok(HostPort { host: listen.host.clone(), port: bound });
    }
    if machine.is_empty() || is_loopback(machine) {
        return Err(Failure::usage(format!(
            "advertised_address: this process listens everywhere and its machine is named `{machine}`, which others cannot reach: \
             set `advertised_address` to a name or an address they can"
        )));
    }
    Ok(HostPort { host: machine.into(), port: bound })
}

fn parse(text: &str, bound: u16) -> Option<HostPort> {
    let alone = |host: &str| (!host.is_empty()).then(|| HostPort { host: host.into(), port: bound });
    if text.parse::<Ipv6Addr>().is_ok() {
        return alone(text);
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().and_then(|_| alone(inner));
    }
    if text.contains(':') {
        let address: HostPort = text.parse().ok()?;
        let port = if address.port == 0 { bound } else { address.port };
        return Some(HostPort { port, ..address });
    }
    alone(text).filter(|_| !text.contains(|c: char| c.is_whitespace() || c == '/'))
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.starts_with("localhost.")
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(given: Option<&str>, listen: &str) -> Result<String, String> {
        let listen = listen.parse().expect("an address");
        let outcome = resolve(given, &listen, 7001, "node1.example");
        outcome.map(|address| address.to_string()).map_err(|failure| failure.message)
    }

    #[test]
    fn what_is_given_is_taken_with_the_bound_port_by_default() {
        for (given, expected) in [
            ("broker1", "broker1:7001"),
            ("broker1:9", "broker1:9"),
            ("broker1:0", "broker1:7001"),
            ("10.0.0.1", "10.0.0.1:7001"),
            ("::1", "[::1]:7001"),
            ("[::1]", "[::1]:7001"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(at(Some(given), "[::]:0"), Ok(expected.to_owned()), "{given}");
        }
    }

    #[test]
    fn without_it_the_listen_host_stands_unless_it_is_a_wildcard() {
        assert_eq!(at(None, "127.0.0.1:0"), Ok("127.0.0.1:7001".into()));
        assert_eq!(at(None, "db.example:6650"), Ok("db.example:7001".into()));
        assert_eq!(at(None, "[::]:0"), Ok("node1.example:7001".into()));
        assert_eq!(at(None, "0.0.0.0:0"), Ok("node1.example:7001".into()));
    }

    #[test]
    fn what_nobody_could_connect_to_is_refused() {
        for given in ["", ":6650", "a b", "host:x", "a:b:c", "0.0.0.0", "[::]:6650", "pulsar://host", "[x]"] {
            let message = at(Some(given), "[::]:0").expect_err(given);
            assert!(message.starts_with("advertised_address: "), "{message}");
        }
        for machine in ["", "localhost", "LOCALHOST.localdomain", "127.0.0.1"] {
            let listen = "[::]:0".parse().expect("an address");
            let failure = resolve(None, &listen, 1, machine).expect_err(machine);
            assert!(failure.message.contains("set `advertised_address`"), "{failure}");
        }
    }
}
