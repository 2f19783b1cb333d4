//! Section `[database]` and the timeouts of `[store]`: the database and its connections.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::option_value::millis;
use crate::redact::redact_url;

/// The options of the database and its connections.
#[derive(Debug, Clone, Deserialize)]
pub struct DatabaseConfig {
    /// The database's kind and address.
    pub url: DatabaseUrl,
    /// Whether `serve` applies pending migrations before it starts.
    pub migrate: bool,
    /// The most connections that are opened for reads and commits.
    pub connections_max: u32,
    /// How long one statement may run before the database cancels it.
    #[serde(rename = "statement_timeout_ms", deserialize_with = "millis")]
    pub statement_timeout: Duration,
    /// How long to wait for a connection to the database.
    #[serde(rename = "connect_timeout_ms", deserialize_with = "millis")]
    pub connect_timeout: Duration,
}

/// The kinds of database that a store exists for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A SQLite file on this machine, used by one process at a time.
    Sqlite,
    /// A database on a PostgreSQL server.
    Postgres,
}

/// The validated URL of a database. `Debug` and `Display` hide its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    kind: DatabaseKind,
    url: String,
}

impl DatabaseUrl {
    /// Returns the kind of database that the URL names.
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// Returns the URL with its password, for the driver only.
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// Returns the path of a SQLite file, relative to the working directory unless absolute; `None`
    /// for Postgres.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        match self.kind {
            DatabaseKind::Postgres => None,
            DatabaseKind::Sqlite => {
                let options =
                    SqliteConnectOptions::from_str(&self.url).expect("checked when it was parsed");
                Some(options.get_filename().to_path_buf())
            }
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// Parses a URL with the driver's own parser, so that the driver does not refuse it later. The
    /// error contains no part of the URL that may be secret.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let kind = match url.split_once(':') {
            Some(("sqlite", rest)) => {
                SqliteConnectOptions::from_str(url).map_err(|fault| fault.to_string())?;
                sqlite_url_error(rest.trim_start_matches("//"))
                    .map_or(Ok(DatabaseKind::Sqlite), Err)
            }
            Some(("postgres" | "postgresql", _)) => {
                PgConnectOptions::from_str(url).map_err(|fault| fault.to_string())?;
                Ok(DatabaseKind::Postgres)
            }
            _ => Err("expected sqlite://PATH or postgres://USER:PASSWORD@HOST/NAME"),
        };
        Ok(Self {
            kind: kind?,
            url: url.to_owned(),
        })
    }
}

fn sqlite_url_error(rest: &str) -> Option<&'static str> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is = |pair: &str| query.split('&').any(|given| given == pair);
    match path {
        "" => Some("names no file: expected sqlite://PATH"),
        path if path.ends_with('/') => Some("names a directory: expected sqlite://PATH of a file"),
        ":memory:" => {
            Some("an in-memory database would lose what was acknowledged: expected sqlite://PATH")
        }
        _ if is("mode=memory") => {
            Some("an in-memory database would lose what was acknowledged: remove mode=memory")
        }
        _ if is("mode=ro") || is("immutable=1") || is("immutable=true") => {
            Some("a read-only database cannot be used")
        }
        _ => None,
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.url))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
