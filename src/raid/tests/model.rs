//! A second, simpler implementation of the rules, against which the first is tested: plain numbers,
//! linear searches, sums recounted every time, and one `bool` per command. No events, no refusals,
//! no seqs.

/// Number of a player or a task.
type Id = u64;

/// Stands for the host app's backend where a player adds or removes a task.
pub(super) const HOST_APP: Id = 0;

#[derive(Debug, Clone, Copy)]
pub(super) enum ModelStep {
    Join(Id),
    Start(Id),
    Leave(Id),
    Kick(Id, Id),
    Promote(Id, Id),
    Cancel(Id),
    Mute(Id, Id, i64),
    RotateInvite(Id),
    Add(Id, u64),
    Edit(Id, Id),
    Remove(Id, Id),
    Claim(Id, Id),
    Release(Id, Id),
    Complete(Id, Id),
    Fail(Id, Id),
    Contribute(Id, u64),
    Say(Id),
    LeaderOffline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelStatus {
    Recruiting,
    Active,
    Won,
    Lost,
}

pub(super) struct ModelTask {
    pub id: Id,
    pub author: Id,
    pub xp: u64,
    pub claimed_by: Option<Id>,
    pub completed_by: Option<Id>,
}

pub(super) struct Model {
    pub target_xp: u64,
    pub target_tasks: u64,
    pub time_limit: i64,
    pub max_members: usize,
    pub late_join: bool,
    pub ranked: bool,
    pub now: i64,
    pub online: Vec<Id>,
    pub status: ModelStatus,
    pub deadline: i64,
    pub ended_at: i64,
    /// Members in joining order.
    pub members: Vec<Id>,
    pub leader: Option<Id>,
    pub term: u64,
    pub kicked: Vec<Id>,
    pub tasks: Vec<ModelTask>,
    pub tasks_added: u64,
    /// Until when each player is muted; the last entry of a player counts.
    pub mutes: Vec<(Id, i64)>,
    /// Contributions in their order, each as player and XP.
    pub earned: Vec<(Id, u64)>,
    /// Energy of each player at a time, in milliseconds; the last entry of a player counts.
    pub energies: Vec<(Id, u32, i64)>,
    pub said: usize,
}

impl Model {
    /// Moves the clock; the deadline ends an active raid.
    pub(super) fn advance(&mut self, millis: i64) {
        self.now += millis;
        if self.status == ModelStatus::Active && self.now >= self.deadline {
            self.end(ModelStatus::Lost, self.deadline);
        }
    }

    /// Executes a step if the rules allow it. Returns whether they do.
    pub(super) fn step(&mut self, step: ModelStep) -> bool {
        let has_not_ended = matches!(self.status, ModelStatus::Recruiting | ModelStatus::Active);
        let active = self.status == ModelStatus::Active;
        let member = |id| self.members.contains(&id);
        let leads = |id| self.leader == Some(id);
        let task = |id: Id| self.tasks.iter().find(|task| task.id == id);
        let may_change =
            |by, task: &ModelTask| member(by) && !self.ranked && (leads(by) || task.author == by);
        let chat_is_open = has_not_ended || self.now <= self.ended_at + 3_600_000;
        let claimed = |id, by| task(id).is_some_and(|task| task.claimed_by == Some(by));
        let allowed = match step {
            ModelStep::Join(id) => {
                let open = self.status == ModelStatus::Recruiting || (active && self.late_join);
                let room = self.members.len() < self.max_members;
                member(id) || (!self.kicked.contains(&id) && open && room)
            }
            ModelStep::Start(by) => leads(by) && self.status == ModelStatus::Recruiting,
            ModelStep::Leave(by) => member(by) && has_not_ended,
            ModelStep::Kick(by, id) | ModelStep::Promote(by, id) => {
                leads(by) && has_not_ended && member(id) && by != id
            }
            ModelStep::Cancel(by) | ModelStep::RotateInvite(by) => leads(by) && has_not_ended,
            ModelStep::Mute(by, id, _) => leads(by) && chat_is_open && member(id) && by != id,
            ModelStep::Edit(by, id) => {
                let is_open =
                    |task: &ModelTask| task.claimed_by.is_none() && task.completed_by.is_none();
                has_not_ended && task(id).is_some_and(|task| may_change(by, task) && is_open(task))
            }
            ModelStep::Remove(by, id) => {
                let is_removable = |task: &ModelTask| {
                    task.completed_by.is_none() && (task.claimed_by.is_none() || leads(by))
                };
                let allowed = |task: &ModelTask| match by {
                    HOST_APP => task.author == by && task.completed_by.is_none(),
                    _ => may_change(by, task) && is_removable(task),
                };
                has_not_ended && task(id).is_some_and(allowed)
            }
            ModelStep::Add(HOST_APP, _) => has_not_ended,
            ModelStep::Add(by, _) => member(by) && !self.ranked && has_not_ended,
            ModelStep::Claim(by, id) => {
                let open =
                    |task: &ModelTask| task.claimed_by.is_none() && task.completed_by.is_none();
                member(by) && active && task(id).is_some_and(open) && self.energy(by) >= 10
            }
            ModelStep::Release(by, id) => {
                let is_claimed = task(id).is_some_and(|task| task.claimed_by.is_some());
                member(by) && has_not_ended && (claimed(id, by) || (leads(by) && is_claimed))
            }
            ModelStep::Complete(by, id) | ModelStep::Fail(by, id) => {
                member(by) && active && claimed(id, by)
            }
            ModelStep::Contribute(id, _) => active && member(id),
            ModelStep::Say(by) => member(by) && chat_is_open && self.now >= self.muted_until(by),
            ModelStep::LeaderOffline => true,
        };
        if allowed {
            self.apply(step);
        }
        allowed
    }

    fn apply(&mut self, step: ModelStep) {
        match step {
            ModelStep::Join(id) => {
                if !self.members.contains(&id) {
                    self.members.push(id);
                    if !self.energies.iter().any(|(player, ..)| *player == id) {
                        self.energies.push((id, 100, self.now));
                    }
                }
            }
            ModelStep::Start(_) => {
                self.status = ModelStatus::Active;
                self.deadline = self.now + self.time_limit;
            }
            ModelStep::Leave(id) => {
                self.remove_member(id);
                if self.members.is_empty() {
                    self.leader = None;
                    self.end(ModelStatus::Lost, self.now);
                } else if self.leader == Some(id) {
                    self.set_leader(self.first_online().unwrap_or(self.members[0]));
                }
            }
            ModelStep::Kick(_, id) => {
                self.remove_member(id);
                self.kicked.push(id);
                self.tasks
                    .retain(|task| task.author != id || task.completed_by.is_some());
            }
            ModelStep::Promote(_, id) => self.set_leader(id),
            ModelStep::Cancel(_) => self.end(ModelStatus::Lost, self.now),
            ModelStep::Mute(_, id, until) => self.mutes.push((id, until)),
            ModelStep::RotateInvite(_) | ModelStep::Edit(..) => {}
            ModelStep::Add(author, xp) => {
                self.tasks_added += 1;
                self.tasks.push(ModelTask {
                    id: self.tasks_added,
                    author,
                    xp,
                    claimed_by: None,
                    completed_by: None,
                });
            }
            ModelStep::Remove(_, id) => self.tasks.retain(|task| task.id != id),
            ModelStep::Claim(by, id) => {
                self.energies.push((by, self.energy(by) - 10, self.now));
                self.task(id).claimed_by = Some(by);
            }
            ModelStep::Release(_, id) => self.task(id).claimed_by = None,
            ModelStep::Complete(by, id) => {
                self.energies
                    .push((by, (self.energy(by) + 5).min(100), self.now));
                let task = self.task(id);
                task.claimed_by = None;
                task.completed_by = Some(by);
                let xp = task.xp;
                self.earn(by, xp);
            }
            ModelStep::Fail(by, id) => {
                self.energies
                    .push((by, self.energy(by).saturating_sub(15), self.now));
                self.task(id).claimed_by = None;
            }
            ModelStep::Contribute(id, xp) => self.earn(id, xp),
            ModelStep::Say(_) => self.said += 1,
            ModelStep::LeaderOffline => {
                let has_not_ended =
                    matches!(self.status, ModelStatus::Recruiting | ModelStatus::Active);
                let is_leader_offline = self
                    .leader
                    .is_some_and(|leader| !self.online.contains(&leader));
                if has_not_ended
                    && is_leader_offline
                    && let Some(next) = self.first_online()
                {
                    self.set_leader(next);
                }
            }
        }
    }

    pub(super) fn energy(&self, player: Id) -> u32 {
        let last = self.energies.iter().rev().find(|(id, ..)| *id == player);
        let (_, energy, at) = *last.expect("a member has energy");
        (energy + u32::try_from((self.now - at) / 60_000).expect("not years")).min(100)
    }

    /// Returns the time until which a player is muted, or a past one.
    pub(super) fn muted_until(&self, player: Id) -> i64 {
        let last = self.mutes.iter().rev().find(|(id, _)| *id == player);
        last.map_or(0, |(_, until)| *until)
    }

    pub(super) fn xp_of(&self, player: Id) -> u64 {
        self.earned
            .iter()
            .filter(|(id, _)| *id == player)
            .map(|(_, xp)| xp)
            .sum()
    }

    pub(super) fn tasks_of(&self, player: Id) -> u64 {
        self.earned.iter().filter(|(id, _)| *id == player).count() as u64
    }

    pub(super) fn current_xp(&self) -> u64 {
        self.earned.iter().map(|(_, xp)| xp).sum()
    }

    /// Ranks the members: each goes before all who have less XP, who reached the same XP later, or
    /// who also have none and joined later.
    pub(super) fn ranking(&self) -> Vec<Id> {
        let mut ranked: Vec<Id> = Vec::new();
        for &id in &self.members {
            let last = |id| self.earned.iter().rposition(|(player, _)| *player == id);
            let beats = |other: Id| {
                let xp = self.xp_of(id);
                let other_xp = self.xp_of(other);
                xp > other_xp || (xp == other_xp && last(id) < last(other))
            };
            let place = ranked
                .iter()
                .position(|other| beats(*other))
                .unwrap_or(ranked.len());
            ranked.insert(place, id);
        }
        ranked
    }

    fn earn(&mut self, player: Id, xp: u64) {
        self.earned.push((player, xp));
        if self.current_xp() >= self.target_xp && self.earned.len() as u64 >= self.target_tasks {
            self.end(ModelStatus::Won, self.now);
        }
    }

    fn end(&mut self, status: ModelStatus, at: i64) {
        self.status = status;
        self.ended_at = at;
    }

    fn remove_member(&mut self, player: Id) {
        self.members.retain(|id| *id != player);
        for task in self
            .tasks
            .iter_mut()
            .filter(|task| task.claimed_by == Some(player))
        {
            task.claimed_by = None;
        }
    }

    fn set_leader(&mut self, player: Id) {
        self.leader = Some(player);
        self.term += 1;
        self.mutes.push((player, 0));
    }

    fn first_online(&self) -> Option<Id> {
        self.members
            .iter()
            .copied()
            .find(|id| self.online.contains(id))
    }

    fn task(&mut self, id: Id) -> &mut ModelTask {
        let task = self.tasks.iter_mut().find(|task| task.id == id);
        task.expect("a task")
    }
}
