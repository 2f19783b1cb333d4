//! What a process of this machine uses, read from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// The resources that a process has used so far, and the memory that it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// CPU time of all threads, in user mode and in the kernel. The kernel counts in ticks of 10
    /// ms.
    pub cpu: Duration,
    pub rss_bytes: u64,
    /// How often the threads went to sleep voluntarily: in an idle process, its wake-ups.
    pub sleeps: u64,
}

impl ProcessUsage {
    /// Reads the usage of a process.
    pub fn from_pid(pid: u32) -> anyhow::Result<ProcessUsage> {
        let read = |path: String| fs::read_to_string(&path).with_context(|| format!("read {path}"));
        let stat = read(format!("/proc/{pid}/stat"))?;
        let status = read(format!("/proc/{pid}/status"))?;
        let ticks = cpu_ticks(&stat).with_context(|| format!("parse /proc/{pid}/stat"))?;
        let cpu =
            Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        let rss_bytes = status_field(&status, "VmRSS:").unwrap_or(0) * 1024;
        let mut sleeps = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread can end while it is read.
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            sleeps += status_field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(ProcessUsage {
            cpu,
            rss_bytes,
            sleeps,
        })
    }

    /// Reads the usage of this process.
    pub fn current() -> anyhow::Result<ProcessUsage> {
        Self::from_pid(std::process::id())
    }
}

/// Returns whether every thread of a process has stopped; SIGSTOP stops them one after the other.
pub fn is_stopped(pid: u32) -> anyhow::Result<bool> {
    let path = format!("/proc/{pid}/task");
    for task in fs::read_dir(&path)
        .with_context(|| format!("read {path}"))?
        .flatten()
    {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name: T, or t under a debugger.
        if !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't']))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Raises the soft limit of open files as far as needed and the hard limit allows; children inherit
/// it. Fails with a message that says what to do when that is less than needed.
pub fn raise_open_files_limit(needed: u64) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = limit
        .maximum
        .unwrap_or(needed)
        .min(needed.max(limit.current.unwrap_or(0)));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        },
    )
    .context("raise the limit of open files")?;
    anyhow::ensure!(
        most >= needed,
        "{needed} open files are needed, {most} allowed: run `ulimit -n {needed}` first"
    );
    Ok(())
}

/// Returns utime plus stime: fields 14 and 15, counted from the end of the name, which may contain
/// blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(100));
    }

    #[test]
    fn own_usage_reports_memory_and_a_running_process() {
        let usage = ProcessUsage::current().expect("proc is mounted");
        assert!(usage.rss_bytes > 100_000);
        assert!(!is_stopped(std::process::id()).expect("proc is mounted"));
    }
}
