//! What a file may say where the directory runs as it is, as local processes.

use super::{EXAMPLE, ProjectFile};

impl ProjectFile {
    /// Whether what it says can be held to without containers.
    ///
    /// # Errors
    /// Everything that cannot, with what to do, one line each.
    pub fn fits_bundle(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        for (name, process) in &self.spec.processes {
            if process.command.trim().is_empty() {
                wrong.push(format!(
                    "process `{name}` has no command: add a line such as `command = \"./server\"` to [processes.{name}]"
                ));
            }
            let limits = [("memory", process.memory.is_some()), ("cpus", process.cpus.is_some())];
            for (key, _) in limits.iter().filter(|(_, set)| *set) {
                wrong.push(format!(
                    "local processes cannot be held to `{key}`: leave it out of [processes.{name}]"
                ));
            }
        }
        if !self.spec.volumes.is_empty() {
            wrong.push("local processes have no volumes: leave [volumes] out".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The smallest useful file, as lines of help.
    pub(crate) fn example() -> impl Iterator<Item = String> {
        EXAMPLE.lines().map(|line| format!("  {line}"))
    }
}
