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

export function lineOf(event: RaidEvent, names: Names, state: RaidState, words: Words): Line | null {
  const { seq, at, by } = event;
  const who = (player: PlayerId | null): string => quote((player !== null && names.get(player)) || words.someone);
  const task = (id: TaskId): string => quote(state.tasks.find(task => task.id === id)?.title ?? `#${id}`);
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
      return line(happened.task_added(who(by), quote(event.data.title)));
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
