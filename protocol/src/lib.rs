//! The wire contract of Raidhall, as pure data.
