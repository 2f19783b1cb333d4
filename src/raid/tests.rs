//! Tests of the rules: scripts of commands, and what they cause.

mod chat;
mod contributions;
mod energy;
mod erasure;
mod leadership;
mod lifecycle;
mod membership;
mod model;
mod moderation;
mod quotas;
mod random;
mod script;
mod stored;
mod tasks;

use script::check;
