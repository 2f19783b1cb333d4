// The player's own profile: what they have reached, and the shop.
import '../styles/me.css';
import type { RaidhallErrorType } from '@raidhall/client';
import { useConnection, useMe } from '@raidhall/client/react';
import { useEffect } from 'react';
import type { Account } from '../account';
import { OfflineNotice } from '../parts/offline-notice';
import { useAway } from '../play/use-away';
import { Achievements } from '../profile/achievements';
import { Shop } from '../profile/shop';
import { Skills } from '../profile/skills';
import { Streak } from '../profile/streak';
import { Summary } from '../profile/summary';
import { useLastProfile } from '../profile/use-last-profile';
import { useProfileWords } from '../profile/words';
import { useProgression } from '../progression';
import { goToLobby } from '../route';

export function Me({ account: { client, player } }: { account: Account }) {
  const words = useProfileWords();
  const { state: current, gone, pending, me } = useMe(client);
  const { status } = useConnection(client);
  const away = useAway(client);
  const last = useLastProfile(player.id, current);
  const { progression, failed, retry } = useProgression();
  const offline = current === null && away ? last : null;
  const state = current ?? offline?.value ?? null;
  useEffect(() => {
    document.title = `${words.profile} · Raidhall`;
    return () => {
      document.title = 'Raidhall';
    };
  }, [words]);

  if (gone) {
    const reason: RaidhallErrorType = gone === 'unsupported' || gone === 'not_found' ? gone : 'forbidden';
    return (
      <section className="page narrow panel">
        <h1>{words.errors[reason]}</h1>
        <button type="button" className="primary" onClick={() => goToLobby()}>{words.back}</button>
      </section>
    );
  }
  if (!state) return <p className="page dim" role="status">{status.state === 'stopped' ? words.stopped[status.reason] : away ? words.offlineProfile : words.loading}</p>;
  return (
    <div className="profile">
      {offline && <OfflineNotice at={offline.at} />}
      <Summary state={state} progression={progression} />
      {progression?.streaks && <Streak client={client} state={state} pending={pending} me={offline ? null : me} rules={progression.streaks} />}
      <Skills skills={state.skills} />
      {progression ? (
        <>
          <Shop state={state} pending={pending} me={offline ? null : me} progression={progression} />
          <Achievements state={state} progression={progression} />
        </>
      ) : failed ? (
        <section className="panel not-loaded">
          <p role="alert">{words.progressionNotLoaded}</p>
          <button type="button" className="primary" onClick={retry}>{words.retryNow}</button>
        </section>
      ) : <p className="panel dim" role="status">{words.loading}</p>}
    </div>
  );
}
