// Folds events into the state of a raid or of a player. Events carry results, so there are no game rules here: a
// snapshot with the events after it is the server's state. States are immutable: parts that an
// event leaves unchanged are shared with the previous state.
import { INBOX_ITEMS_SHOWN, MESSAGES_SHOWN, PLAYER_RAIDS_SHOWN } from './protocol.js';
import type { Counter, Inbox, InboxItem, Member, PlayerEvent, PlayerRaid, PlayerState, RaidEvent, RaidId, RaidState, Streak, Task, TaskId } from './protocol.js';

/** Returns the state after an event. Returns null if this release does not know the event or it
 * contradicts the state; then only a snapshot helps. */
export function fold(state: RaidState, event: RaidEvent): RaidState | null {
  const { at } = event;
  switch (event.type) {
    case 'raid_created':
      return null; // always the first event, and here a state already exists
    case 'member_joined': {
      const leads = event.data.role === 'leader' ? { leader: event.data.player, term: 1 } : {};
      return { ...state, ...leads, members: [...state.members, { ...event.data, muted_until: null }] };
    }
    case 'member_left': {
      const { player, released } = event.data;
      return {
        ...state,
        leader: state.leader === player ? null : state.leader,
        members: state.members.filter(member => member.player !== player),
        tasks: released.length ? state.tasks.map(task => (released.includes(task.id) ? reopened(task) : task)) : state.tasks,
      };
    }
    case 'leader_changed': {
      const { player, previous, term } = event.data;
      const role = (member: Member): Member =>
        member.player === player ? { ...member, role: 'leader', muted_until: null } : member.player === previous ? { ...member, role: 'member' } : member;
      return { ...state, leader: player, term, members: state.members.map(role) };
    }
    case 'raid_started':
      return { ...state, status: 'active', started_at: at, deadline: event.data.deadline };
    case 'task_added': {
      const { task: id, title, xp, minutes } = event.data;
      const task: Task = { id, title, xp, minutes, status: 'open', assignee: null, by: event.by, edited_by: null, claimed_at: null, ended_at: null };
      return { ...state, tasks: [...state.tasks, task] };
    }
    case 'task_edited': {
      const { task, title, minutes } = event.data;
      const edited = { ...(title !== null && { title, edited_by: event.by }), ...(minutes !== null && { minutes }) };
      return withTask(state, task, edited);
    }
    case 'task_removed': {
      const tasks = state.tasks.filter(task => task.id !== event.data.task);
      return tasks.length < state.tasks.length ? { ...state, tasks } : null;
    }
    case 'task_claimed': {
      const { task, player, energy } = event.data;
      const claimed = withTask(state, task, { status: 'claimed', assignee: player, claimed_at: at });
      return claimed && withMember(claimed, player, { energy, energy_at: at });
    }
    case 'task_released':
      return withTask(state, event.data.task, REOPENED);
    case 'task_completed': {
      const { task, player, energy, member_xp, member_tasks, current_xp, current_tasks } = event.data;
      const completed = withTask({ ...state, current_xp, current_tasks }, task, { status: 'completed', ended_at: at });
      return completed && withMember(completed, player, { energy, energy_at: at, xp: member_xp, tasks: member_tasks });
    }
    case 'task_failed': {
      const { task, player, energy } = event.data;
      const failed = withTask(state, task, REOPENED);
      return failed && withMember(failed, player, { energy, energy_at: at });
    }
    case 'contributed': {
      const { player, member_xp, member_tasks, current_xp, current_tasks } = event.data;
      return withMember({ ...state, current_xp, current_tasks }, player, { xp: member_xp, tasks: member_tasks });
    }
    case 'said': {
      if (event.by === null) return null;
      const messages = [...state.messages, { seq: event.seq, by: event.by, text: event.data.text, at }];
      return { ...state, messages: messages.slice(-MESSAGES_SHOWN) };
    }
    case 'member_muted':
      return withMember(state, event.data.player, { muted_until: event.data.until });
    case 'invite_rotated':
      return { ...state, invite_code: event.data.invite_code };
    case 'raid_completed':
      return { ...state, status: 'completed', ended_at: at, ranking: event.data.ranking };
    case 'raid_failed':
      return { ...state, status: 'failed', ended_at: at, reason: event.data.reason };
    case 'player_erased': {
      const { player, text, made_raid } = event.data;
      const named = <T extends { player: number; name: string }>(row: T): T => (row.player === player ? { ...row, name: text } : row);
      return {
        ...state,
        ...(made_raid ? { title: text, description: null } : {}),
        members: state.members.map(named),
        ranking: state.ranking && state.ranking.map(named),
        tasks: state.tasks.map(task => (task.by === player || task.edited_by === player ? { ...task, title: text } : task)),
        messages: state.messages.map(message => (message.by === player ? { ...message, text } : message)),
      };
    }
    default:
      return null;
  }
}

/** Returns the state of a player after an event of their stream. Returns null if this release does
 * not know the event; then only a snapshot helps. */
export function foldPlayer(state: PlayerState, event: PlayerEvent): PlayerState | null {
  switch (event.type) {
    case 'xp_earned': {
      const { xp, earned_xp, tasks, level_xp, next_level_xp, skill, skill_xp, skill_level, coins } = event.data;
      const isTrained = skill !== null && skill_xp !== null && skill_level !== null;
      const skills = isTrained ? withEntry(state.skills, 'skill', { skill, xp: skill_xp, level: skill_level }) : state.skills;
      return { ...state, xp, earned_xp, tasks, level_xp, next_level_xp, skills, coins, counters: withCounters(state, event) };
    }
    case 'level_reached': {
      const { level, coins } = event.data;
      return { ...state, level, coins, counters: withCounters(state, event) };
    }
    case 'coins_moved':
      return { ...state, coins: event.data.coins, counters: withCounters(state, event) };
    case 'achievement_unlocked':
      return { ...state, achievements: withEntry(state.achievements, 'id', { ...event.data, at: event.at }) };
    case 'day_kept': {
      const { day, days, best, freezes, lapses_at } = event.data;
      return withStreak(state, { day, days, best, freezes, lapses_at });
    }
    case 'streak_frozen': {
      const { freezes, lapses_at } = event.data;
      return withStreak(state, { freezes, lapses_at });
    }
    case 'streak_lost': {
      const { repairable_days, repairable_from, repairable_until } = event.data;
      return withStreak(state, { days: 0, lapses_at: null, repairable_days, repairable_from, repairable_until });
    }
    case 'streak_repaired': {
      const { days, best, freezes, lapses_at } = event.data;
      return withStreak(state, { days, best, freezes, lapses_at, repairable_days: 0, repairable_from: null, repairable_until: null });
    }
    case 'item_granted':
      return { ...state, items: [...state.items, event.data.item], counters: withCounters(state, event) };
    case 'item_equipped': {
      const { slot, item } = event.data;
      return { ...state, equipped: { ...state.equipped, [slot]: item } };
    }
    case 'raid_joined': {
      const { raid, role } = event.data;
      const raids = withEntry(state.raids, 'raid', { raid, role }).slice(-PLAYER_RAIDS_SHOWN);
      return { ...state, raids, counters: withCounters(state, event) };
    }
    case 'raid_left':
      return { ...state, raids: withoutRaid(state.raids, event.data.raid) };
    case 'raid_ended': {
      const { raid, raids_played, raids_won } = event.data;
      return { ...state, raids_played, raids_won, raids: withoutRaid(state.raids, raid), counters: withCounters(state, event) };
    }
    case 'setting_set': {
      const { key, value, version, lapses_at } = event.data;
      const set = { ...state, settings: { ...state.settings, [key]: { value, version } } };
      return lapses_at === null ? set : withStreak(set, { lapses_at });
    }
    case 'name_changed':
      return { ...state, name: event.data.name };
    case 'notified': {
      const { kind, data } = event.data;
      const items = [...state.inbox.items, { seq: event.seq, at: event.at, kind, data, read: false }];
      return { ...state, inbox: inboxOf(items.slice(-INBOX_ITEMS_SHOWN)) };
    }
    case 'read_through': {
      const { seq } = event.data;
      return { ...state, read_through: Math.max(state.read_through, seq), inbox: inboxOf(state.inbox.items.map(item => (item.seq <= seq ? { ...item, read: true } : item))) };
    }
    case 'corrected': {
      const { field, to } = event.data;
      if (field !== 'streak') return { ...state, [field]: to };
      const best = Math.max(state.streak.best, to);
      return withStreak(state, { days: to, best, repairable_days: 0, repairable_from: null, repairable_until: null });
    }
    default:
      return null;
  }
}

/** Returns the list with an entry in the place of the one with the same key, or else at the end. */
function withEntry<T>(list: T[], key: keyof T, entry: T): T[] {
  const isSame = (held: T): boolean => held[key] === entry[key];
  return list.some(isSame) ? list.map(held => (isSame(held) ? entry : held)) : [...list, entry];
}

/** Returns the counters after an event that moved some of them. */
const withCounters = ({ counters }: PlayerState, { data }: { data: { counters: Counter[] } }): Counter[] =>
  data.counters.reduce((moved, counter) => withEntry(moved, 'id', counter), counters);

const withStreak = (state: PlayerState, change: Partial<Streak>): PlayerState => ({ ...state, streak: { ...state.streak, ...change } });

const withoutRaid = (raids: PlayerRaid[], raid: RaidId): PlayerRaid[] => raids.filter(joined => joined.raid !== raid);

const inboxOf = (items: InboxItem[]): Inbox => ({ unread: items.filter(({ read }) => !read).length, items });

const REOPENED = { status: 'open', assignee: null, claimed_at: null } as const;

const reopened = (task: Task): Task => ({ ...task, ...REOPENED });

function withTask(state: RaidState, id: TaskId, change: Partial<Task>): RaidState | null {
  if (!state.tasks.some(task => task.id === id)) return null;
  return { ...state, tasks: state.tasks.map(task => (task.id === id ? { ...task, ...change } : task)) };
}

function withMember(state: RaidState, player: number, change: Partial<Member>): RaidState | null {
  if (!state.members.some(member => member.player === player)) return null;
  return { ...state, members: state.members.map(member => (member.player === player ? { ...member, ...change } : member)) };
}
