//! What a newcomer sees first.
use std::fmt;
use std::path::Path;

/// Shown once requests are served.
pub(crate) struct Banner<'a> {
    pub(crate) broker: u16,
    pub(crate) http: u16,
    pub(crate) data: &'a Path,
    /// Where closed ledgers move; empty: nowhere.
    pub(crate) offload: &'a str,
}

const DEFAULT_PORT: u16 = 6650;

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, http, data, offload } = self;
        let url = if *broker == DEFAULT_PORT { String::new() } else { format!(" --url pulsar://localhost:{broker}") };
        writeln!(f, "Geminga {} standalone", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  clients     pulsar://localhost:{broker}")?;
        writeln!(f, "  admin       http://localhost:{http}")?;
        writeln!(f, "  data        {}", data.display())?;
        if !offload.is_empty() {
            writeln!(f, "  objects     {offload}")?;
        }
        writeln!(f, "  durability  every message is synced to disk before its receipt; one copy")?;
        writeln!(f, "  try         echo hello | geminga{url} produce demo --lines")?;
        writeln!(f, "              geminga{url} consume demo --earliest -n 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_what_one_needs() {
        let data = Path::new("/srv/data");
        let plain = Banner { broker: 6650, http: 8080, data, offload: "" }.to_string();
        assert!(!plain.contains("objects"), "{plain}");
        for expected in
            ["pulsar://localhost:6650", "http://localhost:8080", "/srv/data", "synced", "geminga produce demo"]
        {
            assert!(plain.contains(expected), "no {expected} in {plain}");
        }
        let other = Banner { broker: 7000, http: 7001, data, offload: "s3://bucket" }.to_string();
        assert!(other.contains("objects     s3://bucket"), "{other}");
        assert!(other.contains("geminga --url pulsar://localhost:7000 consume demo"), "{other}");
    }
}
