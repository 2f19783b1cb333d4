//! The `raidhall-loadtest` command.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use raidhall_loadtest::report::Report;
use raidhall_loadtest::run::{
    ChaosArgs, ClusterArgs, IdleArgs, LagArgs, PlayersArgs, SmokeArgs, chaos, cluster, idle, lag,
    players, smoke,
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
    /// Play as `cluster` does, follow each player's own stream on several devices, and judge it
    ///
    /// Each player plays three raids at the same time: one that is not ranked, a ranked one, and one
    /// that is won at the end. Without a disturbance, an effect that comes late is a violation, too.
    Players(PlayersArgs),
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
            Run::Players(args) => players(args).await,
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

    fn parse(arguments: &str) -> Result<LoadtestArgs, clap::Error> {
        LoadtestArgs::try_parse_from(format!("raidhall-loadtest {arguments}").split(' '))
    }

    #[test]
    fn counts_and_rates_that_measure_nothing_are_refused() {
        for arguments in [
            "smoke --raids 0",
            "smoke --raids 10001",
            "smoke --players 0",
            "smoke --commands-per-second -1",
            "smoke --signals-per-second NaN",
            "chaos --raids 0",
        ] {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
        parse("smoke --raids 1").expect("parses");
        let services = "--database postgres://a@127.0.0.1/b --redis redis://127.0.0.1:1";
        for arguments in [
            "cluster --raids 0",
            "cluster --commands-per-second inf",
            "players --devices 0",
            "players --contributions-per-second -1",
        ] {
            let arguments = format!("{arguments} {services}");
            assert!(parse(&arguments).is_err(), "{arguments}");
        }
        for run in ["cluster --raids 1", "players --devices 1 --kill-every 10"] {
            parse(&format!("{run} {services}")).expect("parses");
        }
    }
}
