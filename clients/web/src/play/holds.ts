// Holds: after a press on a task's card, the card keeps its place and its look for a moment, so that
// a second press meets the same card and does nothing. A completion can be undone until it is sent.
import type { Command, PlayerId, Task, TaskId } from '@raidhall/client';
import { value } from '../value';

/** A second press within this time belongs to a double click. */
export const SETTLE_MS = 600;
/** How long a completion can be undone, after `SETTLE_MS`. */
export const UNDO_MS = 3_000;

export type Press = 'claim_task' | 'complete_task' | 'fail_task' | 'release_task' | 'undo';

export interface Hold {
  /** The task as it was when its button was pressed. */
  readonly task: Task;
  /** Its index in its column of the board. */
  readonly index: number;
  /** `completing` and `undoable` are completions that are not sent yet. */
  readonly phase: 'settling' | 'completing' | 'undoable';
}

export class Holds {
  readonly held = value<ReadonlyMap<TaskId, Hold>>(new Map());
  private readonly timers = new Map<TaskId, () => void>();

  constructor(
    private readonly give: (command: Command) => void,
    private readonly released: (id: TaskId) => void,
    private readonly after = startTimer,
  ) {}

  /** Handles a press on a button of a card. A completion is sent at once if it is `urgent`. */
  press(task: Task, index: number, press: Press, urgent: boolean): void {
    const phase = this.held.get().get(task.id)?.phase;
    if (phase && !(phase === 'undoable' && press === 'undo')) return;
    if (press === 'complete_task' && !urgent) {
      const undoable = (): void => this.hold({ task, index, phase: 'undoable' }, UNDO_MS, () => this.complete(task.id));
      this.hold({ task, index, phase: 'completing' }, SETTLE_MS, undoable);
      return;
    }
    this.hold({ task, index, phase: 'settling' }, SETTLE_MS, () => this.release(task.id));
    if (press !== 'undo') this.give({ type: press, task: task.id });
  }

  /** Drops completions of tasks that the player does not hold any more. */
  check(tasks: readonly Task[], me: PlayerId): void {
    for (const [id, { phase }] of this.held.get()) {
      const mine = tasks.some(task => task.id === id && task.status === 'claimed' && task.assignee === me);
      if (phase !== 'settling' && !mine) this.release(id);
    }
  }

  /** Ends all holds and sends what is not sent yet. */
  flush = (): void => {
    for (const [id, { phase }] of this.held.get()) {
      if (phase === 'settling') this.release(id);
      else this.complete(id);
    }
  };

  private complete(id: TaskId): void {
    this.give({ type: 'complete_task', task: id });
    this.release(id);
  }

  private hold(hold: Hold, milliseconds: number, then: () => void): void {
    const { id } = hold.task;
    this.timers.get(id)?.();
    this.timers.set(id, this.after(milliseconds, then));
    this.held.set(new Map(this.held.get()).set(id, hold));
  }

  private release(id: TaskId): void {
    this.timers.get(id)?.();
    this.timers.delete(id);
    this.held.set(new Map([...this.held.get()].filter(([other]) => other !== id)));
    this.released(id);
  }
}

/** Starts a timer and returns a function that cancels it. */
function startTimer(milliseconds: number, run: () => void): () => void {
  const timer = setTimeout(run, milliseconds);
  return () => clearTimeout(timer);
}
