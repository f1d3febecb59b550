//! The shell in which the commands of a page run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal};

/// One bash for all commands of a page, with a home directory and a process group of its own, and without a terminal.
pub(crate) struct Shell {
    bash: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const END: &str = "@@ the end of a step";

impl Shell {
    pub(crate) fn new(home: &Path) -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_pdkeys")).parent().unwrap();
        let mut bash = Command::new("bash")
            .env_clear()
            .env("HOME", home)
            .env("LC_ALL", "C")
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .current_dir(home)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = bash.stdin.take().unwrap();
        let output = BufReader::new(bash.stdout.take().unwrap());
        // One pipe for both streams keeps their lines in the order in which they were printed.
        writeln!(input, "exec 2>&1; LAST=0").unwrap();
        Self { bash, input, output }
    }

    /// Runs a command with an empty standard input, and returns the lines that it printed.
    pub(crate) fn run(&mut self, command: &str) -> Vec<String> {
        // Each step finds the exit code of the one before in `$?`.
        write!(self.input, "(exit $LAST)\n{{ {command}\n}} </dev/null\nLAST=$?; printf '\\n%s\\n' '{END}'\n")
            .unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the shell ended in: {command}");
            let line = line.trim_end_matches('\n');
            if line == END {
                break;
            }
            lines.push(line.to_owned());
        }
        assert_eq!(lines.pop().as_deref(), Some(""), "{command}: does not end its last line");
        lines
    }

    /// Returns the exit code of the last step.
    pub(crate) fn last(&mut self) -> String {
        self.run("echo $?").concat()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Ends what the commands left running in the background too.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.bash), Signal::KILL);
        let _ = self.bash.wait();
    }
}
