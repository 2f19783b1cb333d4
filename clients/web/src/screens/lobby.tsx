import { LIMITS, newOp } from '@raidhall/client';
import type { RaidSummary, Rest } from '@raidhall/client';
import { useCallback, useEffect, useState } from 'react';
import type { Account } from '../account';
import { complain, complainOfCode } from '../notices';
import { Bar } from '../parts/bar';
import { useForm } from '../parts/form';
import { TextInput } from '../parts/text-input';
import { goToRaid } from '../route';
import { useWords } from '../settings';

export function Lobby({ account: { rest } }: { account: Account }) {
  return (
    <div className="lobby">
      <MyRaids rest={rest} />
      <div className="stack">
        <JoinByCode rest={rest} />
        <CreateRaid rest={rest} />
      </div>
    </div>
  );
}

function MyRaids({ rest }: { rest: Rest }) {
  const words = useWords();
  const [raids, setRaids] = useState<readonly RaidSummary[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const load = useCallback(
    (from?: string) =>
      rest.raids({ limit: 20, cursor: from }).then(({ data, next_cursor }) => {
        setRaids(old => (from && old ? [...old, ...data] : data));
        setCursor(next_cursor);
      }),
    [rest],
  );
  useEffect(() => {
    let timer = 0;
    let ended = false;
    // Retries until the list is loaded, because it is the way back into a raid.
    const begin = (wait: number): void => {
      load().catch(error => {
        if (ended) return;
        if (wait === 1_000) complain(error);
        timer = window.setTimeout(begin, wait, Math.min(wait * 2, 30_000));
      });
    };
    begin(1_000);
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [load]);
  return (
    <section className="panel" aria-labelledby="my-raids">
      <h1 id="my-raids">{words.myRaids}</h1>
      {raids === null && <p className="dim">{words.loading}</p>}
      {raids?.length === 0 && <p className="dim">{words.noRaids}</p>}
      <ul className="raids">
        {raids?.map(raid => (
          <li key={raid.id}>
            <button type="button" className={`raid-card ${raid.status}`} aria-label={words.open(raid.title)} onClick={() => goToRaid(raid.id)}>
              <span className="row"><b className="grow"><bdi>{raid.title}</bdi></b><span className={`tag ${raid.status}`}>{words.statusOf[raid.status]}</span></span>
              <Bar label={words.xp} text={words.xpOf(raid.current_xp, raid.target_xp)} value={raid.current_xp} max={raid.target_xp} tone="xp" />
              <small>{words.xpOf(raid.current_xp, raid.target_xp)} · {words.tasksOf(raid.current_tasks, raid.target_tasks)}</small>
            </button>
          </li>
        ))}
      </ul>
      {cursor && <button type="button" disabled={busy} onClick={() => { setBusy(true); load(cursor).catch(complain).finally(() => setBusy(false)); }}>{words.more}</button>}
    </section>
  );
}

function JoinByCode({ rest }: { rest: Rest }) {
  const words = useWords();
  const { onSubmit, busy } = useForm(async ({ code }) => {
    const raid = await rest.joinRaid((code ?? '').trim()).catch(complainOfCode);
    if (raid) goToRaid(raid.id);
  });
  return (
    <form className="panel" onSubmit={onSubmit} aria-labelledby="join">
      <h2 id="join">{words.joinTitle}</h2>
      <div className="row">
        <input className="grow code" name="code" aria-label={words.inviteCode} placeholder="ABCD2345" pattern="\s*[0-9A-Za-z]{8}\s*" required autoComplete="off" autoCapitalize="characters" spellCheck={false} />
        <button className="primary" disabled={busy}>{words.join}</button>
      </div>
    </form>
  );
}

const PRESETS = {
  sprint: { target_xp: 100, target_tasks: 3, minutes: 25 },
  evening: { target_xp: 300, target_tasks: 8, minutes: 180 },
  day: { target_xp: 600, target_tasks: 15, minutes: 1_440 },
  week: { target_xp: 2_000, target_tasks: 40, minutes: 10_080 },
} as const;

function CreateRaid({ rest }: { rest: Rest }) {
  const words = useWords();
  const [preset, setPreset] = useState<keyof typeof PRESETS>('sprint');
  // Idempotency key: sending the same form again after a lost response creates no second raid.
  const [key, setKey] = useState(newOp);
  const { onSubmit, busy } = useForm(async fields => {
    const raid = await rest.createRaid(
      {
        title: (fields.title ?? '').trim(),
        description: fields.description || undefined,
        target_xp: Number(fields.target_xp),
        target_tasks: Number(fields.target_tasks),
        time_limit_secs: Number(fields.minutes) * 60,
        max_members: Number(fields.max_members),
        late_join: fields.late_join === 'on',
      },
      key,
    );
    goToRaid(raid.id);
  });
  const { target_xp, target_tasks, minutes } = PRESETS[preset];
  return (
    <form className="panel" onSubmit={onSubmit} onChange={() => setKey(newOp())} aria-labelledby="create">
      <h2 id="create">{words.createTitle}</h2>
      <label>{words.title}<TextInput name="title" placeholder={words.titlePlaceholder} chars={LIMITS.title_chars} required autoComplete="off" /></label>
      <label>{words.description} <small>({words.optional})</small><TextInput name="description" chars={LIMITS.description_chars} autoComplete="off" /></label>
      <fieldset>
        <legend>{words.preset}</legend>
        <div className="segments">
          {(Object.keys(PRESETS) as (keyof typeof PRESETS)[]).map(name => (
            <label key={name}><input type="radio" name="preset" checked={preset === name} onChange={() => setPreset(name)} /><span>{words.presets[name]}</span></label>
          ))}
        </div>
      </fieldset>
      <div className="fields" key={preset}>
        <label>{words.goalXp}<input name="target_xp" type="number" inputMode="numeric" {...LIMITS.target_xp} defaultValue={target_xp} required /></label>
        <label>{words.goalTasks}<input name="target_tasks" type="number" inputMode="numeric" {...LIMITS.target_tasks} defaultValue={target_tasks} required /></label>
        <label>{words.minutes}<input name="minutes" type="number" inputMode="numeric" min={LIMITS.time_limit_secs.min / 60} max={LIMITS.time_limit_secs.max / 60} defaultValue={minutes} required /></label>
      </div>
      <label>{words.players}<input name="max_members" type="number" inputMode="numeric" {...LIMITS.members} defaultValue={4} required /></label>
      <label className="check"><input name="late_join" type="checkbox" defaultChecked />{words.lateJoin}</label>
      <button className="primary" disabled={busy}>{words.create}</button>
    </form>
  );
}
