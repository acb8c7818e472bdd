//! This program in another role: a process of its own, told what to do by lines, ended when it is dropped.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A role that runs.
pub(crate) struct Helper {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts it; the first of `args` is the role.
    pub(crate) fn start(args: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, stdout })
    }

    /// The next line that it says.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => Err(io::Error::other("a process of the bench ended early; its error stands above")),
            _ => Ok(line.trim_end().into()),
        }
    }

    /// Tells it a line.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.child.stdin.as_mut().expect("it is piped"), "{line}")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Most have ended by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
