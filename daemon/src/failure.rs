//! Why a process ends, and with which code.
use std::fmt;
use std::process::ExitCode;

/// The exit codes scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 64: the command line or the configuration is wrong; starting again will not help.
    Usage,
    /// 70: something inside is broken.
    Internal,
    /// 75: a dependency is away; try again.
    TryAgain,
}

/// Why a process cannot start or go on, for the person who started it: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process exits.
    pub exit: Exit,
    /// One or more lines.
    pub message: String,
}

impl Failure {
    /// Exit code 64.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// Exit code 70.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Internal, message: message.to_string() }
    }

    /// Exit code 75.
    pub fn try_again(message: impl fmt::Display) -> Self {
        Self { exit: Exit::TryAgain, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Usage => Self::from(64),
            Exit::Internal => Self::from(70),
            Exit::TryAgain => Self::from(75),
        }
    }
}
