// The columns of the task board. Pure.
import type { PlayerId, Task, TaskId } from '@raidhall/client';
import type { Hold } from './holds';

export type ColumnName = 'claimed' | 'open' | 'completed' | 'unfinished';

/** Returns the columns of the board. After the raid's end no task is open or in progress. */
export function columnsOf(over: boolean, tasks: readonly Task[]): readonly ColumnName[] {
  if (!over) return ['claimed', 'open', 'completed'];
  return tasks.every(({ status }) => status === 'completed') ? ['completed'] : ['completed', 'unfinished'];
}

/**
 * Returns the tasks of a column in the order on the board: own tasks first, the latest completed
 * task on top, and held tasks where they were.
 */
export function arrange(column: ColumnName, tasks: readonly Task[], me: PlayerId, held: ReadonlyMap<TaskId, Hold>): readonly Task[] {
  if (column === 'unfinished') return tasks.filter(({ status }) => status !== 'completed');
  const there = tasks.filter(({ id, status }) => status === column && !held.has(id));
  if (column === 'claimed') there.sort((one, other) => Number(other.assignee === me) - Number(one.assignee === me));
  if (column === 'completed') there.reverse();
  const kept = [...held.values()].filter(({ task }) => task.status === column).sort((one, other) => one.index - other.index);
  for (const { task, index } of kept) there.splice(index, 0, task);
  return there;
}
