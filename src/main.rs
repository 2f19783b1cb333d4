//! The `raidhall` program: parses the command line, runs the command and maps its result to an exit
//! code.

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use raidhall::app::{self, StartError};
use raidhall::cli::{
    Cli, CliCommand, ConfigArgs, Exit, ProgressionCommand, RebuildCommand, TokenCommand,
};
use raidhall::config::{self, EffectiveConfig};
use raidhall::telemetry;
use rustix::fs::Mode;

/// The allocator: faster than the system's for many small allocations on many threads, and returns
/// memory to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The database and its side files hold personal data: only this user may read what is created.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let exit = match Cli::try_parse() {
        Ok(cli) => run(cli.command).unwrap_or_else(|exit| exit),
        Err(help) => {
            // `--help` and `--version` end here too. If the text cannot be written, there is
            // nothing left to do.
            let _ = help.print();
            if help.use_stderr() {
                Exit::Configuration
            } else {
                Exit::Ok
            }
        }
    };
    exit.into()
}

fn run(command: CliCommand) -> Result<Exit, Exit> {
    match command {
        CliCommand::Serve(args) => {
            let config = load_config(&args)?.config;
            let _logs = telemetry::init_logging(&config.telemetry);
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let threads = config.server.worker_thread_count(cores);
            exit_of(block_on(threads, app::serve(config))?)
        }
        CliCommand::Migrate(args) => {
            let config = load_config(&args)?.config;
            let _logs = telemetry::init_logging(&config.telemetry);
            exit_of(block_on(1, app::migrate(&config))?)
        }
        CliCommand::Export(args) => {
            let config = load_config(&args.config)?.config;
            let _logs = telemetry::init_logging(&config.telemetry);
            exit_of(block_on(
                1,
                app::export(&config, &args.file, !args.without_sign_ins),
            )?)
        }
        CliCommand::Import(args) => {
            let config = load_config(&args.config)?.config;
            let _logs = telemetry::init_logging(&config.telemetry);
            exit_of(block_on(
                1,
                app::import(&config, &args.file, args.keep_lineage),
            )?)
        }
        CliCommand::NewLineage(args) => {
            let config = load_config(&args.config)?.config;
            let _logs = telemetry::init_logging(&config.telemetry);
            match block_on(1, app::new_lineage(&config, args.force))? {
                Ok(lineage) => print(format!("{lineage}\n")),
                Err(error) => exit_of(Err(error)),
            }
        }
        CliCommand::Rebuild(RebuildCommand::Players(args)) => {
            let config = load_config(&args.config)?.config;
            let _logs = telemetry::init_logging(&config.telemetry);
            let rebuild = app::rebuild_players(&config, args.player, args.check);
            match block_on(1, rebuild)? {
                Ok(true) => Ok(Exit::Ok),
                Ok(false) => Ok(Exit::Data),
                Err(error) => exit_of(Err(error)),
            }
        }
        CliCommand::Progression(ProgressionCommand::Apply(args)) => {
            let config = load_config(&args.config)?.config;
            let apply = app::apply_definitions(&config, &args.file, args.check);
            match block_on(1, apply)? {
                Ok(outcome) => print(format!("{outcome}\n")),
                Err(error) => Err(report_start_error(&error)),
            }
        }
        CliCommand::Progression(ProgressionCommand::Show(args)) => {
            let config = load_config(&args)?.config;
            match block_on(1, app::show_definitions(&config))? {
                Ok(definitions) => print(definitions),
                Err(error) => Err(report_start_error(&error)),
            }
        }
        CliCommand::CheckConfig(args) => print(load_config(&args)?),
        CliCommand::Health(args) => {
            let config = load_config(&args)?.config;
            match block_on(1, app::check_health(&config))? {
                Ok(()) => Ok(Exit::Ok),
                Err(error) => Err(report_start_error(&error)),
            }
        }
        CliCommand::Token(TokenCommand { config, token }) => {
            let config = load_config(&config)?.config;
            match block_on(1, app::mint_token(&config, token.into()))? {
                Ok(token) => print(format!("{token}\n")),
                Err(error) => Err(report_start_error(&error)),
            }
        }
    }
}

fn load_config(args: &ConfigArgs) -> Result<EffectiveConfig, Exit> {
    EffectiveConfig::load(
        args.files().iter().map(PathBuf::as_path),
        config::process_environment(),
    )
    .map_err(|faults| report_error(faults, Exit::Configuration))
}

/// Logs the error of a command that logs.
fn exit_of(result: Result<(), StartError>) -> Result<Exit, Exit> {
    result.map(|()| Exit::Ok).map_err(|error| {
        let exit = Exit::from(&error);
        let error = error.with_causes();
        tracing::error!(exit_code = exit as u8, error, "the command failed");
        exit
    })
}

/// Prints the error of a command that does not log.
fn report_start_error(error: &StartError) -> Exit {
    report_error(error.with_causes(), Exit::from(error))
}

fn block_on<T>(threads: usize, future: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        report_error(
            format_args!("cannot start the runtime: {error}"),
            Exit::Internal,
        )
    })?;
    let output = runtime.block_on(future);
    // The command has waited for everything that matters; a stuck blocking call must not keep the
    // process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(output)
}

fn print(text: impl std::fmt::Display) -> Result<Exit, Exit> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // The reader may have closed the pipe because it has seen enough, as `head` does.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(report_error(
            format_args!("cannot print: {error}"),
            Exit::Internal,
        )),
        _ => Ok(Exit::Ok),
    }
}

fn report_error(what: impl std::fmt::Display, exit: Exit) -> Exit {
    // If standard error cannot be written, the exit code still reports the failure.
    let _ = writeln!(std::io::stderr(), "raidhall: {what}");
    exit
}
