import type { RaidId } from '@raidhall/client';
import { useConnection } from '@raidhall/client/react';
import { Suspense, useEffect, useMemo, useState } from 'react';
import type { ReactNode } from 'react';
import type { Account } from '../account';
import { useNarrow } from '../media';
import { OfflineNotice } from '../parts/offline-notice';
import { optional } from '../parts/optional';
import { quote } from '../parts/sentence';
import { useNames } from '../play/use-names';
import { predict } from '../play/predict';
import type { Standings } from '../play/standing';
import { useAway } from '../play/use-away';
import { useLastView } from '../play/use-last-view';
import { useRaidOnScreen } from '../play/use-raid';
import { useUnread } from '../play/use-unread';
import { Announcer } from '../raid/announcer';
import { AddTask, Board } from '../raid/board';
import { Goal } from '../raid/goal';
import { Outcome } from '../raid/outcome';
import { Part } from '../raid/part';
import { Party } from '../raid/party';
import { PlayContext, SceneContext } from '../raid/play';
import { Stage } from '../raid/stage';
import { Talk } from '../raid/talk';
import { goToLobby } from '../route';
import { useWords } from '../settings';

const VIEWS = ['tasks', 'party', 'talk'] as const;

const StandingsOfMembers = optional(() => import('../raid/standings'));

export function RaidScreen({ account, id }: { account: Account; id: RaidId }) {
  const words = useWords();
  const { client, player } = account;
  const { raid, view, shown: live } = useRaidOnScreen(client, id, player.id);
  const last = useLastView(player.id, id, view);
  const { status } = useConnection(client);
  const away = useAway(client);
  const [standings, setStandings] = useState<Standings>(new Map());
  const [part, setPart] = useState<(typeof VIEWS)[number]>('tasks');
  const offline = view.state === null && away ? last : null;
  const shown = live ?? (offline && predict(offline.value, view.pending, player.id, offline.at));
  const names = useNames(raid, account.rest, view.state ?? offline?.value ?? null);
  const narrow = useNarrow();
  const inView = (name: (typeof VIEWS)[number]): boolean => !narrow || part === name;
  const { unread, see } = useUnread(player.id, id, view.state);
  const play = useMemo(() => ({ account, raid, me: player.id, see }), [account, raid, player.id, see]);
  const title = shown?.title;
  useEffect(() => {
    document.title = title ? `${unread > 0 ? `(${unread}) ` : ''}${quote(title)} · Raidhall` : 'Raidhall';
    return () => {
      document.title = 'Raidhall';
    };
  }, [title, unread]);

  if (view.gone) {
    return (
      <section className="page narrow panel">
        <h1>{words.gone[view.gone]}</h1>
        <button type="button" className="primary" onClick={() => goToLobby()}>{words.back}</button>
      </section>
    );
  }
  if (!shown) return <p className="page dim" role="status">{status.state === 'stopped' ? words.stopped[status.reason] : away ? words.offlinePage : words.loading}</p>;
  return (
    <PlayContext value={play}>
      <SceneContext value={{ shown, online: view.live ? view.online : null, names, standings, readOnly: offline !== null }}>
        <div className="raid" data-status={shown.status}>
          {offline ? <OfflineNotice at={offline.at} /> : <Stage />}
          <Frozen when={offline !== null}><Goal /></Frozen>
          <Outcome />
          <nav className="parts" aria-label={shown.title}>
            {VIEWS.map(name => (
              <button key={name} type="button" aria-pressed={part === name} onClick={() => setPart(name)}>{words.view[name]}{name === 'talk' && <UnreadBadge count={unread} />}</button>
            ))}
          </nav>
          <Frozen when={offline !== null} className="columns">
            <Part name="tasks" label={words.view.tasks} inView={inView('tasks')}>{!offline && <AddTask />}<Board /></Part>
            <Part name="party" label={words.view.party} inView={inView('party')}><Party /></Part>
            <Part name="talk" label={words.view.talk} inView={inView('talk')}><Talk /></Part>
          </Frozen>
          <Announcer />
          <Suspense><StandingsOfMembers onChange={setStandings} /></Suspense>
        </div>
      </SceneContext>
    </PlayContext>
  );
}

function UnreadBadge({ count }: { count: number }) {
  const words = useWords();
  return count > 0 && <> <span className="badge" aria-hidden="true">{count}</span><span className="unseen">{words.unread(count)}</span></>;
}

/** A part of the page whose buttons and fields can be disabled together. */
function Frozen({ when, className, children }: { when: boolean; className?: string; children: ReactNode }) {
  return when ? <fieldset disabled className={className}>{children}</fieldset> : <div className={className}>{children}</div>;
}
