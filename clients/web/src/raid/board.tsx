// The task board: tasks in progress, open and done.
import { LIMITS } from '@raidhall/client';
import type { RaidState, Task } from '@raidhall/client';
import { memo, useCallback, useEffect, useRef, useState } from 'react';
import type { FormEvent, ReactNode } from 'react';
import { beforeClose } from '../account';
import { complain } from '../notices';
import { Confirm, Dialog } from '../parts/dialog';
import { focusSoon } from '../parts/focus';
import { plain, quote, Sentence } from '../parts/sentence';
import { TextInput } from '../parts/text-input';
import { arrange, columnsOf } from '../play/arrange';
import type { ColumnName } from '../play/arrange';
import { Holds, UNDO_MS } from '../play/holds';
import type { Hold, Press } from '../play/holds';
import { CLAIM_COST, energyAt, FAILURE_COST, isChangeable } from '../play/predict';
import { clock } from '../play/time';
import { useNow } from '../play/use-raid';
import { useWords } from '../settings';
import { useValue } from '../value';
import { give, usePlay, useScene } from './play';

/** With less time left, a completion is sent at once. */
const URGENT_MS = 10_000 + UNDO_MS;

/** Whether the tasks in progress are enough to win: another player may end the raid at any moment. */
function couldBeWon({ tasks, current_xp, target_xp, current_tasks, target_tasks }: RaidState): boolean {
  const claimed = tasks.filter(task => task.status === 'claimed');
  const xp = claimed.reduce((sum, task) => sum + task.xp, current_xp);
  return claimed.length > 1 && xp >= target_xp && current_tasks + claimed.length >= target_tasks;
}

export function Board() {
  const words = useWords();
  const { account, raid, me } = usePlay();
  const { shown, names, readOnly } = useScene();
  const { tasks, members, unsure, leader, status } = shown;
  const [holds] = useState(() => new Holds(command => give(raid, command), id => focusSoon(`[data-task="${id}"]`)));
  const held = useValue(holds.held);
  useEffect(() => holds.check(tasks, me), [holds, tasks, me]);
  useEffect(() => {
    // A phone does not run the timers of a page that is not visible, and may drop it.
    const hidden = (): void => {
      if (document.visibilityState === 'hidden') holds.flush();
    };
    document.addEventListener('visibilitychange', hidden);
    addEventListener('pagehide', holds.flush);
    beforeClose.add(holds.flush);
    return () => {
      document.removeEventListener('visibilitychange', hidden);
      removeEventListener('pagehide', holds.flush);
      beforeClose.delete(holds.flush);
      holds.flush();
    };
  }, [holds]);
  const act = useCallback((task: Task, index: number, press: Press) => {
    const { state } = raid.getView();
    const urgent = state !== null && ((state.deadline ?? Infinity) - account.client.now() < URGENT_MS || couldBeWon(state));
    holds.press(task, index, press, urgent);
  }, [holds, raid, account.client]);
  const [changing, setChanging] = useState<{ readonly what: 'edit' | 'remove'; readonly task: Task } | null>(null);
  const close = (): void => setChanging(null);
  const [givingUp, setGivingUp] = useState<readonly [Task, number] | null>(null);
  const press = useCallback((task: Task, index: number, press: Press) => {
    if (press === 'fail_task' && !holds.held.get().has(task.id)) setGivingUp([task, index]);
    else act(task, index, press);
  }, [holds, act]);
  const own = members.find(({ player }) => player === me);
  const now = useNow(account.client, 10_000);
  const energy = own ? energyAt(own, now) : 0;
  const over = status === 'completed' || status === 'failed';
  if (tasks.length === 0) return over ? null : <p className="panel dim">{words.noTasks(!readOnly && !shown.ranked)}</p>;
  return (
    <div className="board">
      {status === 'active' && own && <p className="own-energy">{words.energyOf(energy)}</p>}
      {columnsOf(over, tasks).map(column => (
        <Column key={column} name={column} tasks={arrange(column, tasks, me, held)} card={(task, index) => (
          <TaskCard key={task.id} task={task} index={index} hold={held.get(task.id)?.phase ?? null} unsure={unsure.has(task.id)} mine={task.assignee === me} leads={leader === me}
            tired={energy < CLAIM_COST} active={status === 'active'} over={over}
            editable={isChangeable(task, shown, me)} who={task.assignee === null ? null : (names.get(task.assignee) ?? words.someone)} onPress={press} onChange={setChanging} />
        )} />
      ))}
      {changing?.what === 'edit' && <EditTask task={changing.task} onClose={close} />}
      {changing?.what === 'remove' && <Confirm question={words.removeTaskConfirm(quote(changing.task.title))} onYes={() => give(raid, { type: 'remove_task', task: changing.task.id })} onClose={close} />}
      {givingUp && <Confirm question={words.failConfirm(quote(givingUp[0].title), Math.min(FAILURE_COST, energy), energy)} onYes={() => act(...givingUp, 'fail_task')} onClose={() => setGivingUp(null)} />}
    </div>
  );
}

/**
 * Cards shown of a long column until the player asks for all: 500 are too many to read and for a
 * phone to draw.
 */
const BEGINNING = 30;

function Column({ name, tasks, card }: { name: ColumnName; tasks: readonly Task[]; card: (task: Task, index: number) => ReactNode }) {
  const words = useWords();
  const [whole, setWhole] = useState(false);
  const { readOnly } = useScene();
  const cut = !whole && !readOnly && tasks.length > BEGINNING;
  return (
    <section className={`column ${name}`} aria-label={words.columns[name]}>
      <h2>{words.columns[name]} <span className="count">{tasks.length}</span></h2>
      <ul>{(cut ? tasks.slice(0, BEGINNING) : tasks).map(card)}</ul>
      {cut && <button type="button" className="quiet" onClick={() => setWhole(true)}>{words.showAll(tasks.length)}</button>}
    </section>
  );
}

interface CardProps {
  task: Task;
  index: number;
  /** Phase of the card's hold, if one of its buttons has just been pressed. */
  hold: Hold['phase'] | null;
  /** Whether a command for this task is pending. */
  unsure: boolean;
  mine: boolean;
  leads: boolean;
  /** Whether the player has too little energy to claim it. */
  tired: boolean;
  active: boolean;
  over: boolean;
  /** Whether the player may edit and remove it while it is open. */
  editable: boolean;
  who: string | null;
  onPress: (task: Task, index: number, press: Press) => void;
  onChange: (change: { what: 'edit' | 'remove'; task: Task }) => void;
}

const TaskCard = memo(function TaskCard({ task, index, hold, unsure, mine, leads, tired, active, over, editable, who, onPress, onChange }: CardProps) {
  const words = useWords();
  const { id, title, xp, minutes, status } = task;
  const claimed = status === 'claimed';
  const completing = hold === 'completing' || hold === 'undoable';
  const button = (press: Press, text: string, className: string, more = {}) => (
    <button type="button" className={className} aria-label={`${plain(text)}: ${title}`} aria-disabled={hold === 'settling' || hold === 'completing' || undefined} {...more} onClick={() => onPress(task, index, press)}><Sentence text={text} /></button>
  );
  const change = (what: 'edit' | 'remove', text: string, sign: string) => (
    <button type="button" className="quiet icon" aria-label={`${text}: ${title}`} title={text} onClick={() => onChange({ what, task })}>{sign}</button>
  );
  return (
    <li className={`task ${status}${mine ? ' mine' : ''}${unsure || hold ? ' unsure' : ''}`} data-task={id} tabIndex={-1}>
      <p className="task-title"><bdi>{title}</bdi></p>
      <p className="task-meta">
        <span className="xp-chip">{words.taskMeta(xp, minutes)}</span>
        {claimed && !over && !mine && who && <span><Sentence text={words.inWorkBy(quote(who))} /></span>}
        {status === 'completed' && who && <span><Sentence text={words.doneBy(quote(who))} /></span>}
        {(unsure || hold) && <span className="sending">{completing ? words.undoable : words.sending}</span>}
      </p>
      {claimed && !over && mine && <Focus task={task} />}
      {!over && id > 0 && (
        <div className="row">
          {status === 'open' && active && button('claim_task', words.claim(CLAIM_COST), tired ? 'tired' : '', { title: tired ? words.errors.not_enough_energy : undefined })}
          {claimed && mine && active && (hold === 'undoable' ? button('undo', words.undo, '') : button('complete_task', words.complete, 'primary'))}
          {claimed && mine && hold !== 'undoable' && button('release_task', words.release, 'quiet')}
          {claimed && mine && hold !== 'undoable' && active && button('fail_task', words.fail(FAILURE_COST), 'quiet')}
          {claimed && !mine && leads && button('release_task', words.releaseOf(quote(who ?? words.someone)), 'quiet')}
          {editable && !hold && status === 'open' && change('edit', words.editTask, '✎')}
          {editable && !hold && (status === 'open' || (claimed && leads)) && change('remove', words.removeTask, '✕')}
        </div>
      )}
    </li>
  );
});

function EditTask({ task, onClose }: { task: Task; onClose: () => void }) {
  const words = useWords();
  const { raid } = usePlay();
  const save = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const title = String(fields.get('title')).trim();
    const minutes = Number(fields.get('minutes'));
    onClose();
    const change = { ...(title !== task.title && { title }), ...(minutes !== task.minutes && { minutes }) };
    if (Object.keys(change).length > 0) give(raid, { type: 'edit_task', task: task.id, ...change });
  };
  return (
    <Dialog title={words.editTaskTitle} onClose={onClose}>
      <form className="edit-task" onSubmit={save}>
        <TextInput name="title" aria-label={words.taskTitle} chars={LIMITS.task_title_chars} defaultValue={task.title} required autoComplete="off" />
        <label>{words.taskMinutes}<input name="minutes" type="number" inputMode="numeric" {...LIMITS.task_minutes} defaultValue={task.minutes} required /></label>
        <div className="row end">
          <button type="button" className="quiet" onClick={onClose}>{words.cancel}</button>
          <button className="primary">{words.save}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Counts a task's minutes down from its claim, then counts the overtime up. */
function Focus({ task: { minutes, claimed_at } }: { task: Task }) {
  const words = useWords();
  const { account } = usePlay();
  const now = useNow(account.client);
  if (claimed_at === null) return null;
  const whole = minutes * 60_000;
  const spent = Math.max(0, now - claimed_at);
  const over = spent > whole;
  return (
    <div className={`focus${over ? ' over' : ''}`} role="timer" aria-label={words.focus}>
      <svg viewBox="0 0 36 36" aria-hidden="true">
        <circle cx="18" cy="18" r="15" /><circle className="spent" cx="18" cy="18" r="15" pathLength="1" strokeDasharray={`${whole > 0 ? Math.min(1, spent / whole) : 1} 1`} />
      </svg>
      <b>{clock(over ? spent - whole : whole - spent, words)}</b>
      <small>{over && whole > 0 ? words.focusOver : words.focus}</small>
    </div>
  );
}

export function AddTask() {
  const words = useWords();
  const { raid } = usePlay();
  const { shown } = useScene();
  const title = useRef<HTMLInputElement>(null);
  if (shown.status === 'completed' || shown.status === 'failed') return null;
  if (shown.ranked) return <p className="panel dim">{words.rankedTasks}</p>;
  return (
    <form className="panel add-task" aria-label={words.addTask} onSubmit={event => {
      event.preventDefault();
      const fields = new FormData(event.currentTarget);
      // The task shows at once, so the field is cleared at once. After a refusal the text comes
      // back.
      const text = String(fields.get('title'));
      raid.do({ type: 'add_task', title: text, xp: Number(fields.get('xp')), minutes: Number(fields.get('minutes')) }).catch(error => {
        complain(error);
        if (title.current && !title.current.value) title.current.value = text;
      });
      if (title.current) title.current.value = '';
      title.current?.focus();
    }}>
      <TextInput ref={title} className="grow" name="title" aria-label={words.taskTitle} placeholder={words.taskPlaceholder} chars={LIMITS.task_title_chars} required autoComplete="off" />
      <label>{words.taskXp}<input name="xp" type="number" inputMode="numeric" {...LIMITS.task_xp} defaultValue={40} required /></label>
      <label>{words.taskMinutes}<input name="minutes" type="number" inputMode="numeric" {...LIMITS.task_minutes} defaultValue={25} required /></label>
      <button className="primary">{words.add}</button>
    </form>
  );
}
