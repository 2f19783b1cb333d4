//! The command line of `raidhall`: its commands, arguments and exit codes. The docs of these types
//! are the help texts.

mod exit;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub use exit::Exit;

use crate::app::TokenRequest;
use crate::auth::Scope;

/// A real-time game-session server for co-op raids.
#[derive(Debug, Parser)]
#[command(name = "raidhall", version = VERSION, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The version and the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("RAIDHALL_BUILD"), ")");

const EXAMPLES: &str = "\
Examples:
  raidhall serve                              SQLite in ./data, on http://127.0.0.1:8080
  raidhall serve --config raidhall.toml       with settings from a file
  PORT=9000 raidhall serve                    on 0.0.0.0:9000, as hosting platforms start it
  DATABASE_URL=postgres://u:p@db/raids raidhall migrate
  RAIDHALL__LIMITS__WATCHES=8 raidhall check-config
  raidhall token --player 5 --ttl-secs 600    a token to try the API with
  raidhall export raids.backup                back up the database; `import` restores it into an empty one
  raidhall progression show > my.toml         what players earn; `progression apply my.toml` changes it
  raidhall rebuild players --check            prove that players' streams follow from the raids' events

Configuration:
  Later sources override earlier ones: built-in defaults, the file that RAIDHALL_CONFIG names,
  --config FILE, PORT, DATABASE_URL, REDIS_URL and RUST_LOG, RAIDHALL__SECTION__KEY. `raidhall check-config` shows every key, its value and its source.

Exit codes:
   0  success, or stopped by SIGTERM or SIGINT (130 after a second one)
  64  wrong arguments or configuration; every fault is listed
  65  the backup is damaged or invalid, or the database is not empty; nothing was imported;
      or `rebuild` found differences that remain; or definitions of progression
      have faults
  69  a dependency is unavailable, such as the database
  70  internal error
  75  another instance holds the database, or one that cannot run beside this
      release is live; try again later";

/// The commands of `raidhall`.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the server until SIGTERM or Ctrl-C
    ///
    /// Prints one line with its URL to standard output once it accepts connections; logs go to
    /// standard error. On SIGTERM or Ctrl-C it hands its raids to other instances, if there are
    /// any, asks clients to reconnect, and exits with 0. A second signal ends it at once.
    Serve(ConfigArgs),
    /// Apply pending database migrations, then exit
    ///
    /// `serve` applies them by itself unless database.migrate is false.
    Migrate(ConfigArgs),
    /// Check the configuration, and show each value and its source
    ///
    /// Lists every fault and exits with 64 if there is one. Opens no database and binds no address.
    /// Secrets and passwords are not shown.
    CheckConfig(ConfigArgs),
    /// Ask the server on this machine whether it is alive
    ///
    /// Fetches /healthz at the address and port of server.listen. Exits with 0 if it is, else with 69.
    Health(ConfigArgs),
    /// Print an access token for a player, for the host app's backend or for an operator
    ///
    /// The token is signed with the configured secret and works for anyone who has it, so keep it safe. The server may
    /// be running. Example:
    /// `curl -H "Authorization: Bearer $(raidhall token --player 5)" http://127.0.0.1:8080/api/v1/me`
    #[command(verbatim_doc_comment)]
    Token(TokenCommand),
    /// Back up the database to one file; the server may be running
    ///
    /// The file also serves to move from SQLite to Postgres and back. See docs/BACKUP.md.
    Export(ExportCommand),
    /// Restore a backup into an empty database, completely or not at all
    ///
    /// Checks the file and the ledger in it. The database gets a new lineage, so that clients
    /// discard their state and start from snapshots.
    Import(ImportCommand),
    /// Give the database's history a new lineage id, as the last step of a restore by other means
    ///
    /// Clients then discard the state that they keep from the lost history. `import` does this by
    /// itself. Prints the new id.
    NewLineage(NewLineageCommand),
    /// Prove that what is derived follows from the raids' events, and repair it
    #[command(subcommand)]
    Rebuild(RebuildCommand),
    /// Show or change the definitions of progression: what counts, and for how much
    #[command(subcommand)]
    Progression(ProgressionCommand),
}

/// What `raidhall progression` does with the definitions.
#[derive(Debug, Subcommand)]
pub enum ProgressionCommand {
    /// Bring the definitions of a file into force for what happens from now on
    ///
    /// What happened before keeps the definitions of its time. The server may be running. Lists every
    /// fault of the file and exits with 65 if there is one. See docs/OPERATIONS.md.
    Apply(ProgressionApplyCommand),
    /// Print the definitions in force, to be edited and applied
    Show(ConfigArgs),
}

/// The arguments of `raidhall progression apply`.
#[derive(Debug, Args)]
pub struct ProgressionApplyCommand {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The TOML file with all definitions
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only check the file; no database is opened
    #[arg(long)]
    pub check: bool,
}

/// What `raidhall rebuild` compares with the raids' events.
#[derive(Debug, Subcommand)]
pub enum RebuildCommand {
    /// Compare players' streams with the raids' events, and append what is missing or wrong
    ///
    /// Prints each difference, then a summary. Nothing is rewritten: a missing effect is appended, and
    /// a wrong number gets an event that corrects it. The server may be running. Exits with 65 if
    /// differences remain. See docs/OPERATIONS.md.
    Players(RebuildPlayersCommand),
}

/// The arguments of `raidhall rebuild players`.
#[derive(Debug, Args)]
pub struct RebuildPlayersCommand {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The id of the only player to look at
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..1 << 53))]
    pub player: Option<u64>,
    /// Only report differences, and repair none
    #[arg(long)]
    pub check: bool,
}

/// The options that every command has.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// A TOML file with the settings that differ from the defaults and from RAIDHALL_CONFIG's file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Returns the file that `RAIDHALL_CONFIG` names, if any, and then the one of the command line,
    /// which overrides it. As with other conventional variables, an empty one counts as not set.
    pub fn files(&self) -> Vec<PathBuf> {
        std::env::var_os("RAIDHALL_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .into_iter()
            .chain(self.config.clone())
            .collect()
    }
}

/// The arguments of `raidhall token`.
#[derive(Debug, Args)]
pub struct TokenCommand {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub token: TokenArgs,
}

/// The arguments of `raidhall export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The file to write, or - for standard output; it contains personal data, so only its owner
    /// can read it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Leave out sign-ins, so that all players must sign in again after a restore
    #[arg(long)]
    pub without_sign_ins: bool,
}

/// The arguments of `raidhall import`.
#[derive(Debug, Args)]
pub struct ImportCommand {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The file to read, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Keep the lineage of the backup; only for a move whose source has served no client since the
    /// export
    #[arg(long)]
    pub keep_lineage: bool,
}

/// The arguments of `raidhall new-lineage`.
#[derive(Debug, Args)]
pub struct NewLineageCommand {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Proceed even if instances are running (Postgres only); they close their connections and
    /// exit, and must be restarted
    #[arg(long)]
    pub force: bool,
}

/// The arguments that describe the token to mint.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// The id of the player that the token is for; optional with --scope
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..1 << 53),
        required_unless_present = "scope")]
    pub player: Option<u64>,
    /// The holder of the token in the audit log, if it is for no player
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cli",
        conflicts_with = "player",
        requires = "scope"
    )]
    pub subject: String,
    /// How long the token is valid, in seconds [default: auth.access_ttl_secs]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    pub ttl_secs: Option<u64>,
    /// The rights that the token grants beyond those of a player
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<TokenScope>,
}

/// The scope of a token with more than a player's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenScope {
    /// Act as an operator: read any raid and use the admin API
    Admin,
    /// Act as the host app's backend: create players, tokens and raids
    Service,
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Admin => Self::Admin,
            TokenScope::Service => Self::Service,
        }
    }
}

impl From<TokenArgs> for TokenRequest {
    fn from(args: TokenArgs) -> Self {
        Self {
            player: args.player,
            subject: args.subject,
            scope: args.scope.map_or(Scope::Player, Scope::from),
            ttl: args.ttl_secs.map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_command_parses() {
        let words = "raidhall token --player 5 --ttl-secs 60 --scope service --config a.toml";
        let CliCommand::Token(command) = Cli::parse_from(words.split(' ')).command else {
            panic!("another command")
        };
        assert_eq!(
            (command.token.player, command.token.ttl_secs),
            (Some(5), Some(60))
        );
        assert_eq!(command.token.scope, Some(TokenScope::Service));
        assert_eq!(command.config.config, Some(PathBuf::from("a.toml")));
    }

    #[test]
    fn player_ids_are_positive_and_below_2_to_the_53() {
        for id in ["0", "-1", "9007199254740992", "ada"] {
            assert!(
                Cli::try_parse_from(["raidhall", "token", "--player", id]).is_err(),
                "{id} passed"
            );
        }
    }
}
