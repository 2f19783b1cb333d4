// The columns of the task board. Pure.
import type { PlayerId, Task, TaskId } from '@raidhall/client';
import type { Hold } from './holds';

export const COLUMNS = ['claimed', 'open', 'completed'] as const;
export type ColumnName = (typeof COLUMNS)[number];

/**
 * Returns the tasks of a column in the order on the board: own tasks first, the latest completed
 * task on top, and held tasks where they were.
 */
export function arrange(column: ColumnName, tasks: readonly Task[], me: PlayerId, held: ReadonlyMap<TaskId, Hold>): readonly Task[] {
  const there = tasks.filter(({ id, status }) => status === column && !held.has(id));
  if (column === 'claimed') there.sort((one, other) => Number(other.assignee === me) - Number(one.assignee === me));
  if (column === 'completed') there.reverse();
  const kept = [...held.values()].filter(({ task }) => task.status === column).sort((one, other) => one.index - other.index);
  for (const { task, index } of kept) there.splice(index, 0, task);
  return there;
}
