//! The machine that figures were taken on, as a reader has to know it.

use std::{fmt, fs, path::Path, process::Command, thread};

use nix::sys::utsname::uname;
use serde::Serialize;

/// What cannot be told.
const UNKNOWN: &str = "unknown";

/// The machine, and what ran on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cores: usize,
    /// The processor's name.
    pub cpu: String,
    /// Memory, bytes; 0 where it cannot be told.
    pub memory_bytes: u64,
    /// The kernel's name, release and architecture.
    pub kernel: String,
    /// The compiler that made the program.
    pub rustc: &'static str,
    /// `release` or `debug`.
    pub build: &'static str,
    /// The commit of the source folder now, with `-dirty` where it was changed.
    pub commit: String,
}

impl Machine {
    /// Looks at this one.
    pub fn look() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let kernel = uname().map(|names| {
            let names = [names.sysname(), names.release(), names.machine()];
            names.map(|name| name.to_string_lossy()).join(" ")
        });
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu(&read("/proc/cpuinfo")).unwrap_or(UNKNOWN.to_owned()),
            memory_bytes: memory_bytes(&read("/proc/meminfo")).unwrap_or_default(),
            kernel: kernel.unwrap_or(UNKNOWN.to_owned()),
            rustc: env!("BUILT_BY_RUSTC"),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            commit: commit(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_or(UNKNOWN.to_owned()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.memory_bytes as f64 / f64::from(1 << 30);
        let (cores, cpu, kernel) = (self.cores, &self.cpu, &self.kernel);
        let (rustc, build, commit) = (self.rustc, self.build, &self.commit);
        write!(
            f,
            "{cores} cores ({cpu}), {gib:.1} GiB, {kernel}; {rustc}, {build} build, commit {commit}"
        )
    }
}

fn cpu(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let rest = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn commit(folder: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder);
    let output = git
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .output()
        .ok()?;
    let told = String::from_utf8(output.stdout).ok()?;
    Some(told.trim().to_owned()).filter(|commit| output.status.success() && !commit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_what_linux_tells() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n";
        assert_eq!(cpu(text).as_deref(), Some("Some CPU @ 2.00GHz"));
        assert_eq!(cpu("processor : 0"), None);
        let text = "MemTotal:        2048 kB\nMemFree: 1 kB\n";
        assert_eq!(memory_bytes(text), Some(2_097_152));
        assert_eq!(memory_bytes("MemTotal: much"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::look();
        assert!(machine.cores > 0);
        assert!(machine.rustc.starts_with("rustc "), "{}", machine.rustc);
        assert!(machine.to_string().contains(" build, commit "), "{machine}");
    }
}
