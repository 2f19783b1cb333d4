//! Tests of the judge of players' streams, on records written by hand.

mod commands;
mod devices;
mod effects;
mod folding;
mod ledgers;
mod sample_stream;
