// The raid's title, progress, countdown and buttons.
import { useEffect, useState } from 'react';
import { createPortal } from 'react-dom';
import { comboAt, tensionAt } from '../effects/moments';
import { play as sound } from '../effects/sound';
import { Bar } from '../parts/bar';
import { Confirm } from '../parts/dialog';
import { focusSoon } from '../parts/focus';
import { headerSlot } from '../parts/header';
import { quote, Sentence } from '../parts/sentence';
import { clock } from '../play/time';
import { useNow } from '../play/use-raid';
import { useWords } from '../settings';
import { useValue } from '../value';
import { Invite } from './invite';
import { give, usePlay, useScene } from './play';

export function Goal() {
  const words = useWords();
  const { raid, me } = usePlay();
  const { shown } = useScene();
  const { status, title, description } = shown;
  const [dialog, setDialog] = useState<'invite' | 'leave' | 'end' | null>(null);
  const leads = shown.leader === me;
  const over = status === 'completed' || status === 'failed';
  const open = status === 'recruiting' || (status === 'active' && shown.late_join);
  const leader = shown.members.find(({ player }) => player === shown.leader)?.name;
  const close = (): void => setDialog(null);
  return (
    <section className="goal panel" aria-labelledby="raid-title">
      <div className="goal-head">
        <div className="grow">
          <span className={`tag ${status}`} id="raid-status">{words.statusOf[status]}</span>{shown.ranked && <span className="tag">{words.ranked}</span>}
          <h1 id="raid-title" tabIndex={-1}><bdi>{title}</bdi></h1>
          {description && <p className="dim"><bdi>{description}</bdi></p>}
        </div>
        <Countdown />
      </div>
      <div className="gauges">
        <div className="gauge" id="xp-gauge">
          <span>{words.xpOf(shown.current_xp, shown.target_xp)}</span>
          <Bar label={words.xp} text={words.xpOf(shown.current_xp, shown.target_xp)} value={shown.current_xp} max={shown.target_xp} tone="xp" />
        </div>
        <div className="gauge" id="task-gauge">
          <span>{words.tasksOf(shown.current_tasks, shown.target_tasks)}</span>
          <Bar label={words.tasks} text={words.tasksOf(shown.current_tasks, shown.target_tasks)} value={shown.current_tasks} max={shown.target_tasks} tone="tasks" />
        </div>
      </div>
      {!over && (
        <div className="row goal-tools">
          {status === 'recruiting' && (leads
            ? <button type="button" className="primary" title={words.startHint} onClick={() => { give(raid, { type: 'start' }); focusSoon('#raid-title'); }}>{words.start}</button>
            : leader && <span className="dim"><Sentence text={words.waitForLeader(quote(leader))} /></span>)}
          {open && <button type="button" onClick={() => setDialog('invite')}>{words.invite}</button>}
          <Combo />
          <span className="grow" />
          {leads && <button type="button" className="quiet" onClick={() => setDialog('end')}>{words.end}</button>}
          <button type="button" className="quiet" onClick={() => setDialog('leave')}>{words.leave}</button>
        </div>
      )}
      {dialog === 'invite' && <Invite code={shown.invite_code} title={title} onReplace={leads ? () => give(raid, { type: 'rotate_invite' }) : null} onClose={close} />}
      {dialog === 'leave' && <Confirm question={words.leaveConfirm(shown.members.length === 1)} onYes={() => give(raid, { type: 'leave' })} onClose={close} />}
      {dialog === 'end' && <Confirm question={words.endConfirm} onYes={() => give(raid, { type: 'cancel' })} onClose={close} />}
    </section>
  );
}

/** The time left is in the header, where it stays in view. */
function Countdown() {
  const words = useWords();
  const { account } = usePlay();
  const { shown } = useScene();
  const now = useNow(account.client);
  const slot = useValue(headerSlot);
  const { status, deadline, time_limit_secs, started_at, ended_at } = shown;
  const tension = tensionAt(shown, now);
  const limit = time_limit_secs * 1_000;
  const left = deadline === null ? limit : Math.min(deadline - now, limit);
  const seconds = Math.ceil(left / 1_000);
  useEffect(() => {
    if (tension === 'critical') sound('tick');
  }, [tension, seconds]);
  const time = (label: string, text: string, className = '') => <div className={`countdown ${className}`}><small>{label}</small><b>{text}</b></div>;
  switch (status) {
    case 'recruiting':
      return time(words.timeLimit, clock(limit, words));
    case 'active':
      return slot && createPortal(<div role="timer">{time(words.timeLeft, clock(left, words), tension)}</div>, slot);
    default:
      return time(words.took[status], started_at === null || ended_at === null ? '—' : clock(ended_at - started_at, words));
  }
}

/** Shows how many tasks were completed in quick succession. */
function Combo() {
  const words = useWords();
  const { account } = usePlay();
  const { shown } = useScene();
  const chain = comboAt(shown, useNow(account.client));
  return shown.status === 'active' && chain > 1 ? <span className="combo" key={chain}>{words.combo(chain)}</span> : null;
}
