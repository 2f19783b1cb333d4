//! What a report says of a cluster: what was done to its nodes, and what of it players noticed.

use std::fmt;

use serde::Serialize;

use crate::ack_waits::WaitFigures;
use crate::latency::Percentiles;

/// A cluster under disturbance.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClusterFigures {
    /// How many nodes.
    pub nodes: usize,
    /// How often one was killed.
    pub kills: u64,
    /// How often one was frozen.
    pub stops: u64,
    /// How often one was restarted as a deploy does.
    pub rolls: u64,
    /// Waits for acks of clients whose connection stood.
    pub stood: WaitFigures,
    /// Of those whose connection stood to a node that was frozen.
    pub frozen: WaitFigures,
    /// Of those who lost their connection.
    pub torn: WaitFigures,
    /// Times that a client was shown gone somebody who was there.
    pub shown_gone: u64,
    /// Times that the lead was taken from somebody who was there.
    pub deposed: u64,
    /// Times that somebody was away for longer than the grace.
    pub absences: u64,
    /// Presence messages that told their client nothing new.
    pub repeated: u64,
    /// What was done to the nodes, and when in the run.
    pub timeline: Vec<String>,
}

/// How long events took to watchers on the node where they were made, and on another.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LagFigures {
    /// Events per second that were made while measuring.
    pub events_per_second: f64,
    /// From sending a command to its event at another client of the same node.
    pub same_node: Percentiles,
    /// The same at a client of another node.
    pub other_node: Percentiles,
    /// How much later an event came there, event by event.
    pub hop: Percentiles,
    /// Raids left out because their owner was not their actor's node.
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
            ("standing", &self.stood, "commands whose connection stood"),
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
            "  presence    {shown_gone} times shown gone while there, {deposed} times the lead taken; {absences} real absences, {repeated} repeats"
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
