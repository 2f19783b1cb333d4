//! Background jobs of an instance, each of which runs one or two tasks on a
//! [`TaskGroup`](crate::task_group::TaskGroup).
//!
//! [`projector`] turns raids' events into players' events, [`feed_announcer`] wakes it after commits,
//! [`due_scanner`] wakes raids whose deadline has come, [`head_poller`] finds events that the bus lost,
//! [`inbox_dispatcher`] handles messages of other instances, [`command_reporter`] shares the limit on
//! commands with them, [`eraser`] finishes the erasure of players, [`feed_monitor`] watches whether the
//! feed moves, [`peer_monitor`] whether the bus reaches the other instances,
//! [`space_monitor`] whether the database has space, and [`maintenance`] runs once a day.

pub mod command_reporter;
pub mod due_scanner;
pub mod eraser;
pub mod feed_announcer;
pub mod feed_monitor;
pub mod head_poller;
pub mod inbox_dispatcher;
pub mod maintenance;
pub mod peer_monitor;
pub mod projector;
pub mod space_monitor;
