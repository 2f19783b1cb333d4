//! The command line: what can be asked of `raidhall`, and how it ends.

mod exit;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub use exit::Exit;

use crate::app::TokenRequest;
use crate::auth::Scope;

/// A real-time game-session server for co-op raids.
#[derive(Debug, Parser)]
#[command(name = "raidhall", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

const EXAMPLES: &str = "\
Examples:
  raidhall serve                              SQLite in ./data, on http://127.0.0.1:8080
  raidhall serve --config raidhall.toml       with a file that holds what differs
  PORT=9000 raidhall serve                    as hosting platforms start it: on 0.0.0.0:9000
  DATABASE_URL=postgres://u:p@db/raids raidhall migrate
  RAIDHALL__LIMITS__WATCHES=8 raidhall check-config
  raidhall token --player 5 --ttl-secs 600    a token to try the API with
  raidhall export raids.backup                everything, as one file; `import` takes it into an empty database

Configuration:
  Built-in defaults, then --config FILE, then PORT, DATABASE_URL, REDIS_URL and RUST_LOG, then
  RAIDHALL__SECTION__KEY. `raidhall check-config` shows every key, its value and where it comes from.

Exit codes:
   0  done, or stopped as asked
  64  wrong arguments or configuration: every fault is listed
  65  the backup is damaged or cannot be true, or the database is not empty: nothing was imported
  69  something needed is unavailable, such as the database
  70  internal error
  75  another instance holds the database: try again";

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the server until SIGTERM or Ctrl-C
    ///
    /// Prints the one line with its URL to standard output once it accepts connections; logs go to standard error.
    /// On SIGTERM raids are stored, clients told to come back, and the process ends with 0.
    Serve(ConfigArgs),
    /// Bring the database's schema up to date, then exit
    ///
    /// `serve` does it by itself unless database.migrate is false.
    Migrate(ConfigArgs),
    /// Show the configuration in effect and where each value comes from, or everything that is wrong with it
    ///
    /// Opens and binds nothing. Secrets and passwords are not shown.
    CheckConfig(ConfigArgs),
    /// Print an access token for a player, for the host app's backend or for an operator
    ///
    /// Signed with the configured secret. Whoever holds the token may do what it says. The server may be running. Example:
    /// `curl -H "Authorization: Bearer $(raidhall token --player 5)" http://127.0.0.1:8080/api/v1/me`
    #[command(verbatim_doc_comment)]
    Token(TokenCommand),
    /// Write everything that the database keeps into one file; the server may be running
    ///
    /// The file is a backup, and the way from SQLite to Postgres and back. See docs/BACKUP.md.
    Export(ExportCommand),
    /// Fill an empty database from such a file, all of it or nothing
    ///
    /// The file and the ledger in it are checked. Clients that come back drop what they hold and start from snapshots.
    Import(ImportCommand),
    /// Name the database's history anew, so that clients drop what they hold: the last step of a restore
    ///
    /// Not needed after `import`, which does it. Prints the new name.
    NewLineage(NewLineageCommand),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// A TOML file with what differs from the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `raidhall token`.
#[derive(Debug, Args)]
pub struct TokenCommand {
    /// Where the secret is configured.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What to mint.
    #[command(flatten)]
    pub token: TokenArgs,
}

/// `raidhall export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    /// Where the database is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The file to write, or - for standard output. It holds personal data: only its owner may read it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Leave sign-ins out: after a restore all players sign in again
    #[arg(long)]
    pub without_sign_ins: bool,
}

/// `raidhall import`.
#[derive(Debug, Args)]
pub struct ImportCommand {
    /// Where the database is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The file to read, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Keep the history's name: only for a move whose source has served nobody since the export
    #[arg(long)]
    pub keep_lineage: bool,
}

/// `raidhall new-lineage`.
#[derive(Debug, Args)]
pub struct NewLineageCommand {
    /// Where the database is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Do it though instances live (Postgres): they let their clients go and end, to be started again
    #[arg(long)]
    pub force: bool,
}

/// The token to mint.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// The player it speaks for; with a scope it need not speak for any
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..1 << 53),
        required_unless_present = "scope")]
    pub player: Option<u64>,
    /// Who has it, for the audit log, if it speaks for no player
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cli",
        conflicts_with = "player",
        requires = "scope"
    )]
    pub subject: String,
    /// How long it is valid, in seconds [default: auth.access_ttl_secs]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    pub ttl_secs: Option<u64>,
    /// What it may do beyond a player's own doings
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<TokenScope>,
}

/// A token's right beyond a player's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenScope {
    /// Watch and read any raid
    Admin,
    /// Act as the host app's backend: make players, tokens and raids for others
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
