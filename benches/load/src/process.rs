//! What the system says of a process: its time, its writing, its memory.

use std::fs::read_to_string;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::report::to_float;

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Of user and system.
    pub(crate) cpu: Duration,
    /// Bytes handed to the system by writing calls.
    pub(crate) handed: u64,
    /// Bytes of pages that had to go to the disk.
    pub(crate) written: u64,
}

/// A process of this machine by its number. It may have ended, as long as nobody waited for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// This program.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    fn file(self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.0);
        read_to_string(&path).context(path)
    }

    /// The fields of `stat` from the state on.
    fn stat(self) -> Result<Vec<String>> {
        let stat = self.file("stat")?;
        let (_, rest) = stat.rsplit_once(") ").context("no stat of a process")?;
        Ok(rest.split_whitespace().map(str::to_owned).collect())
    }

    /// Itself and the processes it has started.
    pub(crate) fn family(self) -> Result<Vec<Self>> {
        let mut family = vec![self];
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let fields = Self(number).stat().unwrap_or_default();
            if fields.get(1).and_then(|parent| parent.parse().ok()) == Some(self.0) {
                family.push(Self(number));
            }
        }
        Ok(family)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(self) -> bool {
        match self.stat() {
            Ok(fields) => matches!(fields.first().map(String::as_str), Some("Z" | "X") | None),
            Err(_) => true,
        }
    }

    pub(crate) fn usage(self) -> Result<Usage> {
        let fields = self.stat()?;
        let ticks = |place: usize| -> Result<u64> {
            Ok(fields.get(place).context("stat is short")?.parse()?)
        };
        let each = rustix::param::clock_ticks_per_second();
        let seconds = to_float(ticks(11)? + ticks(12)?) / to_float(each);
        let io = self.file("io")?;
        Ok(Usage {
            cpu: Duration::from_secs_f64(seconds),
            handed: member(&io, "wchar:")?,
            written: member(&io, "write_bytes:")?,
        })
    }

    /// Bytes of memory in use: all, and without the pages of files.
    pub(crate) fn memory(self) -> Result<(u64, u64)> {
        let status = self.file("status")?;
        let all = member(&status, "VmRSS:")? * 1_024;
        Ok((all, member(&status, "RssAnon:")? * 1_024))
    }
}

/// The number behind a name at the beginning of a line.
fn member(text: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name));
    let value = rest.and_then(|rest| rest.split_whitespace().next());
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}

/// How long all processors of this machine were busy since it started.
pub(crate) fn busy() -> Result<Duration> {
    let stat = read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields = line.split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    let each = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(to_float(busy) / to_float(each)))
}

impl Usage {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            handed: self.handed.saturating_sub(before.handed),
            written: self.written.saturating_sub(before.written),
        }
    }

    /// Microseconds of processor time for each of so many messages.
    pub(crate) fn cpu_us(self, messages: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / to_float(messages.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_time_and_memory() {
        let own = Process::own();
        assert!(!own.has_ended());
        let (all, without_files) = own.memory().unwrap();
        assert!(all > 100_000 && without_files <= all);
        own.usage().unwrap();
        assert!(busy().unwrap() > Duration::ZERO);
    }
}
