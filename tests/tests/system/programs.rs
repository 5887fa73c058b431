//! Programs of other makers, as tests run them.
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::cluster::{Servers, java_tools};
use tokio::process::Command;

pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(180);

/// Runs a program to its end and gives what it printed. Any other exit code than 0 fails the test, with the output.
pub(crate) async fn run(mut command: Command) -> String {
    let name = format!("{:?}", command.as_std());
    let ended = tokio::time::timeout(ENDS_WITHIN, command.kill_on_drop(true).output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{name}: not within {ENDS_WITHIN:?}")).expect("the program starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{printed}\n{complained}", output.status);
    printed
}

/// Apache Pulsar's own tools, pointed at one server.
pub(crate) struct JavaTools {
    jars: PathBuf,
    configuration: PathBuf,
}

impl JavaTools {
    pub(crate) fn against(servers: &Servers, place: &Path) -> Option<Self> {
        let configuration = place.join("client.conf");
        let text = format!("webServiceUrl={}/\nbrokerServiceUrl={}\n", servers.admin().base(), servers.url());
        std::fs::write(&configuration, text).expect("written");
        Some(Self { jars: java_tools().or_say_so()?, configuration })
    }

    /// `pulsar-client`.
    pub(crate) async fn client(&self, arguments: &[&str]) -> String {
        self.tool("org.apache.pulsar.client.cli.PulsarClientTool", arguments).await
    }

    /// `pulsar-admin`.
    pub(crate) async fn admin(&self, arguments: &[&str]) -> String {
        self.tool("org.apache.pulsar.admin.cli.PulsarAdminTool", arguments).await
    }

    async fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = java(&format!("{}/*", self.jars.display()));
        command.arg(class).arg(&self.configuration).args(arguments);
        run(command).await
    }
}

fn java(class_path: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", class_path]);
    command.args(["--add-opens", "java.base/sun.net=ALL-UNNAMED"]);
    command
}

/// The programs in `tests/java/src`, which use Apache Pulsar's Java client.
pub(crate) fn java_behaviours() -> Option<Command> {
    let jars = java_tools().or_say_so()?;
    let mut command = java(&format!("{}:{}/*", jars.with_file_name("classes").display(), jars.display()));
    command.arg("Behaviours");
    Some(command)
}
