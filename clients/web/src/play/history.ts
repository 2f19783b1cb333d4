// Events as lines of text, for the activity feed and the screen reader. Pure.
import type { PlayerId, RaidEvent, RaidState, TaskId } from '@raidhall/client';
import type { Words } from '../i18n/en';
import { quote } from '../parts/sentence';

export interface Line {
  readonly seq: number;
  readonly at: number;
  /** For `Sentence`. */
  readonly text: string;
  readonly tone: 'plain' | 'good' | 'bad' | 'big';
  readonly chat: boolean;
}

/** Names of members and former members, as far as known events contain them. */
export type Names = ReadonlyMap<PlayerId, string>;

export function namesIn(events: readonly RaidEvent[], state: RaidState | null): Names {
  const names = new Map<PlayerId, string>();
  for (const event of events) {
    if (event.type === 'member_joined') names.set(event.data.player, event.data.name);
    if (event.type === 'player_erased') names.set(event.data.player, event.data.text);
  }
  state?.members.forEach(({ player, name }) => names.set(player, name));
  state?.ranking?.forEach(({ player, name }) => names.set(player, name));
  return names;
}

/** A task's title and the players who wrote it; it is replaced once one of them is erased. */
export interface Title {
  readonly text: string;
  readonly authors: readonly (PlayerId | null)[];
}

/** Titles of tasks, also of removed ones, as far as known events contain them. */
export type Titles = ReadonlyMap<TaskId, Title>;

/** Returns the titles in events and in the state after them, besides those that were known before. */
export function titlesIn(events: readonly RaidEvent[], state: RaidState | null, known: Titles = new Map()): Titles {
  const titles = new Map(known);
  for (const { type, data, by } of events) {
    if (type === 'task_added') titles.set(data.task, { text: data.title, authors: [by] });
    if (type === 'task_edited' && data.title !== null && by !== null) titles.set(data.task, { text: data.title, authors: [data.author, by] });
    if (type === 'player_erased') titles.forEach(({ authors }, task) => authors.includes(data.player) && titles.set(task, { text: data.text, authors }));
  }
  state?.tasks.forEach(({ id, title, by, edited_by }) => titles.set(id, { text: title, authors: [by, edited_by] }));
  return titles;
}

/** Groups the removals of tasks that one command caused, as a kick does; other events are alone. */
export function stepsOf(events: readonly RaidEvent[]): readonly (readonly RaidEvent[])[] {
  const steps = new Map<string, RaidEvent[]>();
  for (const event of events) {
    const step = event.type === 'task_removed' && event.by !== null ? `${event.by} at ${event.at}` : `${event.seq}`;
    steps.set(step, [...(steps.get(step) ?? []), event]);
  }
  return [...steps.values()];
}

export function lineOf(event: RaidEvent, names: Names, titles: Titles, words: Words, several = false): Line | null {
  const { seq, at, by } = event;
  const who = (player: PlayerId | null): string => quote((player !== null && names.get(player)) || words.someone);
  const actor = by === null ? null : who(by);
  const task = (id: TaskId): string => quote(titles.get(id)?.text ?? `#${id}`);
  const line = (text: string, tone: Line['tone'] = 'plain'): Line => ({ seq, at, text, tone, chat: event.type === 'said' });
  const { happened } = words;
  switch (event.type) {
    case 'raid_created':
      return line(happened.raid_created(who(by)));
    case 'member_joined':
      return line(happened.member_joined(quote(event.data.name)), 'good');
    case 'member_left':
      return line(happened[event.data.reason](who(event.data.player)), 'bad');
    case 'leader_changed':
      return line(happened.leader_changed(who(event.data.player)));
    case 'raid_started':
      return line(happened.raid_started, 'big');
    case 'task_added':
      return line(happened.task_added(actor, quote(event.data.title)));
    case 'task_edited':
      return line(happened.task_edited(who(by), task(event.data.task)));
    case 'task_removed':
      return line(several ? happened.tasks_removed(who(by)) : happened.task_removed(actor, task(event.data.task)), 'bad');
    case 'task_claimed':
      return line(happened.task_claimed(who(event.data.player), task(event.data.task)));
    case 'task_released':
      return line(happened.task_released(task(event.data.task)));
    case 'task_completed':
      return line(happened.task_completed(who(event.data.player), task(event.data.task), event.data.xp), 'good');
    case 'task_failed':
      return line(happened.task_failed(who(event.data.player), task(event.data.task)), 'bad');
    case 'contributed':
      return line(happened.contributed(who(event.data.player), event.data.xp, event.data.kind), 'good');
    case 'said':
      return line(happened.said(who(by), quote(event.data.text)));
    case 'member_muted':
      return line((event.data.until === null ? happened.member_unmuted : happened.member_muted)(who(event.data.player)));
    case 'invite_rotated':
      return line(happened.invite_rotated(who(by)));
    case 'raid_completed':
      return line(happened.raid_completed, 'big');
    case 'raid_failed':
      return line(happened.raid_failed, 'big');
    case 'player_erased':
      return line(happened.player_erased);
    default:
      return null; // an event type of a newer server
  }
}
