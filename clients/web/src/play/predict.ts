// Optimistic view: a raid's state with this player's pending commands applied, until the server's
// events replace it. Only task and chat commands are predicted. A change to a task is applied only
// if the rules would accept it in the known state. Another player can still win a race for the
// task, so it is marked as unsure until the reply. Pure.
import type { ChatMessage, Member, PlayerId, RaidState, Task, Waiting } from '@raidhall/client';

export const CLAIM_COST = 10;
const COMPLETION_GAIN = 5;
export const FAILURE_COST = 15;
const ENERGY_MAX = 100;
const REGENERATION_MS = 60_000;

export interface Shown extends RaidState {
  /**
   * Ids of tasks with a pending command. Tasks that the server does not know yet have negative ids.
   */
  readonly unsure: ReadonlySet<number>;
  /** Chat messages that the server has not confirmed. */
  readonly unsaid: readonly ChatMessage[];
}

/** Returns a member's energy at `now`: it regenerates by one a minute. */
export function energyAt({ energy, energy_at }: { energy: number; energy_at: number }, now: number): number {
  return Math.min(ENERGY_MAX, energy + Math.max(0, Math.floor((now - energy_at) / REGENERATION_MS)));
}

/** Returns the time until which a member is muted, or null if they are not. */
export function mutedUntil(member: Member | undefined, now: number): number | null {
  const until = member?.muted_until ?? null;
  return until !== null && now < until ? until : null;
}

/** Whether a player may edit and remove a task while it is open. */
export function isChangeable(task: Task, { ranked, leader }: RaidState, me: PlayerId): boolean {
  return !ranked && (task.by === me || leader === me);
}

export function predict(state: RaidState, pending: readonly Waiting[], me: PlayerId, now: number): Shown {
  let shown: Shown = { ...state, unsure: new Set(), unsaid: [] };
  const unsure = new Set<number>();
  const unsaid: ChatMessage[] = [];
  const task = (id: number, may: (task: Task) => boolean, change: Partial<Task>): boolean => {
    const found = shown.tasks.find(task => task.id === id);
    if (!found || !may(found)) return false;
    unsure.add(id);
    shown = { ...shown, tasks: shown.tasks.map(task => (task.id === id ? { ...task, ...change } : task)) };
    return true;
  };
  const member = state.members.find(({ player }) => player === me);
  let energy = member ? energyAt(member, now) : 0;
  const mine = (task: Task): boolean => task.status === 'claimed' && task.assignee === me;
  const reopened = { status: 'open', assignee: null, claimed_at: null } as const;

  pending.forEach(({ cmd, at }, index) => {
    switch (cmd.type) {
      case 'add_task': {
        if (shown.ranked) return;
        const { title, xp, minutes } = cmd;
        const id = -1 - index;
        unsure.add(id);
        const added: Task = { id, title, xp, minutes, status: 'open', assignee: null, by: me, edited_by: null, claimed_at: null, ended_at: null };
        shown = { ...shown, tasks: [...shown.tasks, added] };
        return;
      }
      case 'edit_task': {
        const { title, minutes } = cmd;
        task(cmd.task, task => task.status === 'open' && isChangeable(task, shown, me), {
          ...(title != null && { title, edited_by: me }), ...(minutes != null && { minutes }),
        });
        return;
      }
      case 'remove_task': {
        const removable = ({ status }: Task): boolean => status === 'open' || (status === 'claimed' && shown.leader === me);
        if (task(cmd.task, task => removable(task) && isChangeable(task, shown, me), {})) {
          shown = { ...shown, tasks: shown.tasks.filter(({ id }) => id !== cmd.task) };
        }
        return;
      }
      case 'claim_task':
        if (shown.status !== 'active' || energy < CLAIM_COST) return;
        if (task(cmd.task, ({ status }) => status === 'open', { status: 'claimed', assignee: me, claimed_at: at })) energy -= CLAIM_COST;
        return;
      case 'release_task':
        task(cmd.task, task => mine(task) || (shown.leader === me && task.status === 'claimed'), reopened);
        return;
      case 'fail_task':
        if (task(cmd.task, mine, reopened)) energy = Math.max(0, energy - FAILURE_COST);
        return;
      case 'complete_task':
        // XP is not predicted: the bar moves when the server's event arrives.
        if (task(cmd.task, mine, { status: 'completed', ended_at: at })) energy = Math.min(ENERGY_MAX, energy + COMPLETION_GAIN);
        return;
      case 'say':
        unsaid.push({ seq: -1 - index, by: me, text: cmd.text, at });
        return;
    }
  });
  return { ...shown, unsure, unsaid };
}
