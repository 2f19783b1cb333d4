//! Macros for SQL: each file names its statements once, in one list, which a test feeds to `EXPLAIN
//! QUERY PLAN`.

/// SQL expression of the database's time in milliseconds. `unixepoch` returns seconds with three
/// decimals.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}

/// Defines named statements, and lists them all as `STATEMENTS`.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $($part:expr),+;)+) => {
        $($(#[$doc])* const $name: &str = concat!($($part),+);)+

        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

pub(super) use {now, statements};
