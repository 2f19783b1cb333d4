// Titles of the tasks that this page has seen, so that events can name tasks that are removed.
import type { RaidEvent, RaidState, TaskId } from '@raidhall/client';
import { useState } from 'react';
import { titlesIn } from './history';
import type { Titles } from './history';

export function useTitles(events: readonly RaidEvent[], state: RaidState): Titles {
  const [titles] = useState(() => new Map<TaskId, string>());
  titlesIn(events, state).forEach((title, task) => titles.set(task, title));
  return titles;
}
