//! The cluster's part of a report: what was done to its nodes, and what players noticed of it.

use std::fmt;

use serde::Serialize;

use crate::ack_waits::WaitFigures;
use crate::latency::Percentiles;

/// The figures of a run on a cluster under disturbance.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClusterFigures {
    pub nodes: usize,
    /// How often a node was killed.
    pub kills: u64,
    /// How often a node was frozen.
    pub stops: u64,
    /// How often a node was restarted as a deploy does.
    pub rolls: u64,
    /// Ack waits of commands whose connection stayed open.
    pub stood: WaitFigures,
    /// Ack waits of commands whose connection stayed open to a node that was frozen.
    pub frozen: WaitFigures,
    /// Ack waits of commands whose connection was lost.
    pub torn: WaitFigures,
    /// How often a client was shown a player offline who was online.
    pub shown_gone: u64,
    /// How often the lead was taken from a player who was online.
    pub deposed: u64,
    /// How often a player was away for longer than the grace.
    pub absences: u64,
    /// Presence messages that changed nothing for the client that received them.
    pub repeated: u64,
    /// What was done to the nodes, each entry with its time in the run.
    pub timeline: Vec<String>,
}

/// How long events took to watchers on the node of their owner, and on another node.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LagFigures {
    /// Events per second during the measurement.
    pub events_per_second: f64,
    /// From sending a command to its event at another client of the same node.
    pub same_node: Percentiles,
    /// From sending a command to its event at a client of another node.
    pub other_node: Percentiles,
    /// The additional time to the other node, event by event.
    pub hop: Percentiles,
    /// Raids left out because their owner was not the node of the acting player.
    pub left_out: usize,
}

impl fmt::Display for ClusterFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            nodes,
            kills,
            stops,
            rolls,
            ..
        } = self;
        writeln!(
            f,
            "  cluster     {nodes} nodes: {kills} kills, {stops} freezes, {rolls} deploys"
        )?;
        let waits = [
            (
                "standing",
                &self.stood,
                "commands whose connection stayed open",
            ),
            ("frozen", &self.frozen, "on a node that was frozen"),
            ("torn", &self.torn, "whose connection was lost"),
        ];
        for (name, figures, what) in waits
            .into_iter()
            .filter(|(_, figures, _)| figures.wait.count > 0)
        {
            writeln!(f, "  {name:<11} {} {what}", figures.wait)?;
            if let Some(longest) = &figures.longest {
                writeln!(f, "              longest: {longest}")?;
            }
        }
        let Self {
            shown_gone,
            deposed,
            absences,
            repeated,
            ..
        } = self;
        writeln!(
            f,
            "  presence    {shown_gone} times shown offline while online, {deposed} times the lead taken; {absences} real absences, {repeated} repeats"
        )
    }
}

impl fmt::Display for LagFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  events      {:.0}/s measured, {} raids left out",
            self.events_per_second, self.left_out
        )?;
        writeln!(f, "  same node   {}", self.same_node)?;
        writeln!(f, "  other node  {}", self.other_node)?;
        writeln!(f, "  hop         {}", self.hop)?;
        writeln!(
            f,
            "  difference  of the medians {:.2} ms, of the p99 {:.2} ms",
            self.other_node.p50_ms - self.same_node.p50_ms,
            self.other_node.p99_ms - self.same_node.p99_ms
        )
    }
}
