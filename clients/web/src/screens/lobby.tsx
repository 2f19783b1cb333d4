import { LIMITS, newOp } from '@raidhall/client';
import type { Client, PlayerId, RaidState, RaidSummary, Rest, Seq } from '@raidhall/client';
import { useCallback, useEffect, useRef, useState } from 'react';
import type { Account } from '../account';
import { localeOf } from '../i18n/numbers';
import { forget, lastViews } from '../kept-raids';
import { raidOfMember } from '../membership';
import { complain, complainOfCode } from '../notices';
import { Avatar } from '../parts/avatar';
import { Bar } from '../parts/bar';
import { useForm } from '../parts/form';
import { TextInput } from '../parts/text-input';
import { clock } from '../play/time';
import { useNow } from '../play/use-raid';
import { goToRaid } from '../route';
import { useSettings, useWords } from '../settings';

export function Lobby({ account: { client, player, rest } }: { account: Account }) {
  return (
    <div className="lobby">
      <JoinByCode rest={rest} />
      <MyRaids client={client} me={player.id} rest={rest} />
      <CreateRaid rest={rest} />
    </div>
  );
}

const isOver = ({ status }: RaidSummary): boolean => status === 'completed' || status === 'failed';

/** Raids that are not over come first: the active ones by deadline, then the newest. */
function order(raids: Iterable<RaidSummary>): readonly RaidSummary[] {
  const once = new Map([...raids].map(raid => [raid.id, raid]));
  return [...once.values()].sort((one, other) => (one.deadline ?? Infinity) - (other.deadline ?? Infinity) || other.id - one.id);
}

/** Returns a raid as the list shows it. */
const summaryOf = ({ members, ...raid }: RaidState & { seq: Seq }): RaidSummary => ({
  ...raid,
  deadline: raid.status === 'active' ? raid.deadline : null,
  members: members.slice(0, 5).map(({ player, name }) => ({ id: player, name })),
  member_count: members.length,
});

const keptRaids = (me: PlayerId): readonly RaidSummary[] => order(lastViews(me).map(({ value }) => summaryOf({ ...value, seq: 0 })));

/**
 * Reads a raid again that is no longer listed as active: it has ended, or the player is no longer in
 * it. Returns it as it was if it cannot be read now.
 */
async function renew(rest: Rest, raid: RaidSummary, me: PlayerId): Promise<readonly RaidSummary[]> {
  try {
    const state = await raidOfMember(rest, raid.id, me);
    if (state) return [summaryOf(state)];
  } catch {
    return [raid];
  }
  forget('view', me, raid.id);
  return [];
}

function MyRaids({ client, me, rest }: { client: Client; me: PlayerId; rest: Rest }) {
  const words = useWords();
  const [raids, setRaids] = useState<readonly RaidSummary[] | null>(null);
  /** Where the next page begins; null after the last one. */
  const [cursor, setCursor] = useState<string | null>();
  const [busy, setBusy] = useState(false);
  const known = useRef<readonly RaidSummary[]>([]);
  known.current = raids ?? [];
  const refresh = useCallback(async () => {
    const pages = await Promise.all([rest.raids({ limit: 20 }), rest.raids({ status: 'recruiting', limit: 100 }), rest.raids({ status: 'active', limit: 100 })]);
    const fresh = pages.flatMap(({ data }) => data);
    const listed = new Set(fresh.map(({ id }) => id));
    // A raid that has ended since may be on none of the pages.
    const ended = await Promise.all(known.current.filter(raid => !isOver(raid) && !listed.has(raid.id)).map(raid => renew(rest, raid, me)));
    setRaids(old => order([...(old ?? []).filter(isOver), ...ended.flat(), ...fresh]));
    setCursor(old => (old === undefined ? pages[0].next_cursor : old));
  }, [rest, me]);
  const more = async (from: string): Promise<void> => {
    const { data, next_cursor } = await rest.raids({ limit: 20, cursor: from });
    setRaids(old => order([...(old ?? []), ...data]));
    setCursor(next_cursor);
  };
  useEffect(() => {
    let timer = 0;
    let ended = false;
    // Retries until the list is loaded, because it is the way back into a raid.
    const begin = (wait: number): void => {
      refresh().catch(error => {
        if (ended) return;
        if (wait === 1_000) complain(error);
        setRaids(old => old ?? keptRaids(me));
        timer = window.setTimeout(begin, wait, Math.min(wait * 2, 30_000));
      });
    };
    const again = (): void => {
      if (document.visibilityState === 'visible') refresh().catch(() => {}); // the list stays as it was
    };
    begin(1_000);
    addEventListener('focus', again);
    document.addEventListener('visibilitychange', again);
    return () => {
      ended = true;
      clearTimeout(timer);
      removeEventListener('focus', again);
      document.removeEventListener('visibilitychange', again);
    };
  }, [refresh, me]);
  const list = (of: readonly RaidSummary[]) => <ul className="raids">{of.map(raid => <RaidCard key={raid.id} raid={raid} client={client} />)}</ul>;
  const current = raids?.filter(raid => !isOver(raid)) ?? [];
  const past = raids?.filter(isOver) ?? [];
  return (
    <section className="panel my-raids" aria-labelledby="my-raids">
      <div className="row">
        <h1 id="my-raids" className="grow">{words.myRaids}</h1>
        <button type="button" className="to-create" onClick={() => document.querySelector<HTMLElement>('[name=title]')?.focus()}>{words.createTitle}</button>
      </div>
      {raids === null && <p className="dim">{words.loading}</p>}
      {raids && cursor === undefined && <p className="dim" role="status">{raids.length > 0 ? words.offlineList : words.listNotLoaded}</p>}
      {raids?.length === 0 && cursor !== undefined && <p className="dim">{words.noRaids}</p>}
      {list(current)}
      {(past.length > 0 || cursor) && (
        <details open={current.length === 0}>
          <summary>{words.pastRaids}</summary>
          {list(past)}
          {cursor && <button type="button" disabled={busy} onClick={() => { setBusy(true); more(cursor).catch(complain).finally(() => setBusy(false)); }}>{words.more}</button>}
        </details>
      )}
    </section>
  );
}

function RaidCard({ raid, client }: { raid: RaidSummary; client: Client }) {
  const words = useWords();
  const { language } = useSettings();
  const { id, title, status, deadline, ended_at, created_at } = raid;
  const now = useNow(client, deadline === null ? 60_000 : 1_000);
  const day = new Intl.DateTimeFormat(localeOf(language), { dateStyle: 'medium' });
  const when = deadline === null ? day.format(ended_at ?? created_at) : `${words.timeLeft}: ${clock(deadline - now, words)}`;
  return (
    <li>
      <button type="button" className={`raid-card ${status}`} aria-label={words.open(title)} aria-describedby={`faces-${id} about-${id}`} onClick={() => goToRaid(id)}>
        <span className="row"><b className="grow"><bdi>{title}</bdi></b><span className={`tag ${status}`}>{words.statusOf[status]}</span></span>
        <Bar label={words.xp} text={words.xpOf(raid.current_xp, raid.target_xp)} value={raid.current_xp} max={raid.target_xp} tone="xp" />
        <Faces raid={raid} />
        <small id={`about-${id}`}>{words.xpOf(raid.current_xp, raid.target_xp)} · {words.tasksOf(raid.current_tasks, raid.target_tasks)} · <span className="when">{when}</span></small>
      </button>
    </li>
  );
}

function Faces({ raid: { id, members, member_count } }: { raid: RaidSummary }) {
  const words = useWords();
  const more = member_count - members.length;
  return (
    <span className="faces" id={`faces-${id}`}>
      {members.map(player => <Avatar key={player.id} player={player.id} name={player.name} />)}
      {more > 0 && <span aria-hidden="true">+{more}</span>}
      <span className="unseen">{words.membersAre(members.map(({ name }) => name), more)}</span>
    </span>
  );
}

function JoinByCode({ rest }: { rest: Rest }) {
  const words = useWords();
  const { onSubmit, busy } = useForm(async ({ code }) => {
    const raid = await rest.joinRaid((code ?? '').trim()).catch(complainOfCode);
    if (raid) goToRaid(raid.id);
  });
  return (
    <form className="panel join" onSubmit={onSubmit} aria-labelledby="join">
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
    <form className="panel create" onSubmit={onSubmit} onChange={() => setKey(newOp())} aria-labelledby="create">
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
