//! Tests of the `raidhall` command from outside: its exit codes and what it writes to which stream.

use std::process::{Command, Output};

fn raidhall(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raidhall"));
    command.env_clear().envs(env.iter().copied()).args(args);
    command.output().expect("it runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_succeed() {
    for (args, expected) in [
        (["--help"], "Examples:"),
        (
            ["--version"],
            concat!("raidhall ", env!("CARGO_PKG_VERSION"), " ("),
        ),
    ] {
        let output = raidhall(&args, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stdout(&output).contains(expected), "{output:?}");
    }
}

#[test]
fn wrong_arguments_end_with_64() {
    for args in [
        &[][..],
        &["srve"],
        &["serve", "--conifg", "x"],
        &["token"],
        &["token", "--player", "0"],
    ] {
        let output = raidhall(args, &[]);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn a_scoped_token_needs_no_player_and_no_database() {
    let env = [
        ("RAIDHALL__AUTH__SECRET", "0123456789abcdef0123456789abcdef"),
        ("DATABASE_URL", "postgres://user@127.0.0.1:1/nothing"),
    ];
    let output = raidhall(
        &["token", "--scope", "service", "--subject", "host-app"],
        &env,
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output).trim().split('.').count(), 3, "{output:?}");
    for args in [
        &["token", "--subject", "x"][..],
        &[
            "token",
            "--scope",
            "admin",
            "--player",
            "5",
            "--subject",
            "x",
        ],
    ] {
        assert_eq!(raidhall(args, &env).status.code(), Some(64), "{args:?}");
    }
}

#[test]
fn every_command_lists_all_faults_and_ends_with_64() {
    let env = [
        ("RAIDHALL__LIMITS__WATCHES", "0"),
        ("RAIDHALL__NOPE", "1"),
        ("REDIS_URL", "redis://:hunter2@cache"),
    ];
    for args in [
        &["serve"][..],
        &["migrate"],
        &["check-config"],
        &["token", "--player", "5"],
        &["export", "f"],
        &["import", "f"],
        &["new-lineage"],
    ] {
        let output = raidhall(args, &env);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let text = stderr(&output);
        assert!(
            text.starts_with("raidhall: 3 faults in the configuration:\n"),
            "{text}"
        );
        for (name, _) in env {
            assert!(text.contains(name), "{name} is not in: {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn check_config_prints_the_effective_values_without_secrets() {
    let secret = "0123456789abcdef0123456789abcdef";
    let env = [
        ("RAIDHALL__AUTH__SECRET", secret),
        ("DATABASE_URL", "postgres://ada:hunter2@db/raids"),
    ];
    let output = raidhall(&["check-config"], &env);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(
        text.contains("url = \"postgres://ada:[redacted]@db/raids\"  # DATABASE_URL\n"),
        "{text}"
    );
    assert!(
        !text.contains(secret) && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn production_with_development_settings_lists_all_faults() {
    let env = [
        ("RAIDHALL__SERVER__PROFILE", "production"),
        ("RAIDHALL__SERVER__ALLOWED_ORIGINS", "*"),
    ];
    let output = raidhall(&["serve"], &env);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let text = stderr(&output);
    for key in [
        "auth.secret",
        "auth.guest",
        "database.url",
        "server.allowed_origins",
    ] {
        assert!(
            text.contains(&format!("\n  {key} (")),
            "{key} is not in: {text}"
        );
    }
    assert!(text.starts_with("raidhall: 4 faults"), "{text}");
}
