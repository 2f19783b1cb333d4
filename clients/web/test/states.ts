// Builders of raid states for the tests.
import type { Member, RaidState, Task } from '@raidhall/client';

export const ADA = 1;
export const BEN = 2;
export const NOW = 1_000_000_000;

export const member = (player: number, name: string, change: Partial<Member> = {}): Member => ({
  player, name, role: player === ADA ? 'leader' : 'member', xp: 0, tasks: 0, energy: 100, energy_at: NOW, joined_at: 0, muted_until: null, ...change,
});

export const task = (id: number, change: Partial<Task> = {}): Task => ({
  id, title: `task ${id}`, xp: 40, minutes: 25, status: 'open', assignee: null, by: ADA, edited_by: null, claimed_at: null, ended_at: null, ...change,
});

export const raid = (change: Partial<RaidState> = {}): RaidState => ({
  id: 7, title: 'Raid', description: null, invite_code: 'ABCD2345', status: 'active', reason: null, target_xp: 100, target_tasks: 3, current_xp: 0,
  current_tasks: 0, max_members: 4, late_join: false, ranked: false, time_limit_secs: 3_600, created_at: 0, started_at: NOW, deadline: NOW + 3_600_000, ended_at: null,
  leader: ADA, term: 1, members: [member(ADA, 'Ada'), member(BEN, 'Ben')], tasks: [], messages: [], ranking: null, ...change,
});
