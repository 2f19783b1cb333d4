//! The rules, row by row, as scripts and what comes of them.

mod chat;
mod contributions;
mod energy;
mod erasure;
mod leadership;
mod lifecycle;
mod membership;
mod model;
mod random;
mod script;
mod stored;
mod tasks;

use script::check;
