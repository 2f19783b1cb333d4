//! Tests of the judge of players' streams, on records written by hand.

mod achievements;
mod commands;
mod devices;
mod effects;
mod folding;
mod forged_stream;
mod grants;
mod ledgers;
mod progression;
mod sample_events;
mod sample_stream;
mod shop;
mod streaks;
