//! The `raidhall-loadtest` command.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use raidhall_loadtest::report::Report;
use raidhall_loadtest::run::{
    ChaosArgs, ClusterArgs, IdleArgs, LagArgs, SmokeArgs, chaos, cluster, idle, lag, smoke,
};

/// Load tester for Raidhall: simulated players play raids, log what they send and receive, and the
/// server is judged by those logs.
///
/// Exit codes: 0 no violation, 1 violations (each is printed), 2 the run failed.
#[derive(Debug, Parser)]
#[command(version)]
struct LoadtestArgs {
    /// Write the report as JSON to this file
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the logs of clients that saw a violation into this directory
    #[arg(long, global = true, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Threads of the load tester; leave cores for the server
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    #[command(subcommand)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Play whole raids, measure the server, and judge it
    Smoke(SmokeArgs),
    /// Play as `smoke` does while the server is killed and restarted again and again
    Chaos(ChaosArgs),
    /// Play on several nodes while they are killed, frozen or deployed
    Cluster(ClusterArgs),
    /// Measure how long events take from one node to another
    Lag(LagArgs),
    /// Hold idle connections and measure what they cost the server
    Idle(IdleArgs),
}

fn main() -> ExitCode {
    let cli = LoadtestArgs::parse();
    match run(&cli) {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{report}");
            if report.violations.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            }
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "error: {why:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &LoadtestArgs) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(cli.threads))
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        match &cli.run {
            Run::Smoke(args) => smoke(args).await,
            Run::Chaos(args) => chaos(args).await,
            Run::Cluster(args) => cluster(args).await,
            Run::Lag(args) => lag(args).await,
            Run::Idle(args) => idle(args).await,
        }
    })?;
    if let Some(path) = &cli.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(directory) = &cli.evidence {
        std::fs::create_dir_all(directory)?;
        for evidence in &report.evidence {
            std::fs::write(directory.join(&evidence.name), &evidence.text)?;
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_rates_that_measure_nothing_are_refused() {
        for arguments in [
            "smoke --raids 0",
            "smoke --raids 10001",
            "smoke --players 0",
            "smoke --commands-per-second -1",
            "smoke --signals-per-second NaN",
            "chaos --raids 0",
            "cluster --raids 0",
            "cluster --commands-per-second inf",
        ] {
            let words = ["raidhall-loadtest"]
                .into_iter()
                .chain(arguments.split(' '));
            assert!(LoadtestArgs::try_parse_from(words).is_err(), "{arguments}");
        }
        LoadtestArgs::try_parse_from(["raidhall-loadtest", "smoke", "--raids", "1"])
            .expect("parses");
    }
}
