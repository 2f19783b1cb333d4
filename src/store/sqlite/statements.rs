//! How SQL is written here: each file names its statements once, in one list, which a test feeds to
//! `EXPLAIN QUERY PLAN`.

/// The database's time, in milliseconds. `unixepoch` gives seconds with a fraction of three digits.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}

/// Names statements, and lists them all as `STATEMENTS`.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $($part:expr),+;)+) => {
        $($(#[$doc])* const $name: &str = concat!($($part),+);)+

        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

pub(super) use {now, statements};
