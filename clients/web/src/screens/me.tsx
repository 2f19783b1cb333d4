// The player's own profile: level, streak, skills, achievements, and the shop.
import '../styles/me.css';
import { useConnection, useMe } from '@raidhall/client/react';
import { useMemo } from 'react';
import type { Account } from '../account';
import { Gone } from '../parts/gone';
import { OfflineNotice } from '../parts/offline-notice';
import { useAway } from '../play/use-away';
import { useKept } from '../play/use-kept';
import { useTitle } from '../play/use-title';
import { Achievements } from '../profile/achievements';
import { Shop } from '../profile/shop';
import { isShownProfile, shownOf } from '../profile/shown';
import { Skills } from '../profile/skills';
import { Streak } from '../profile/streak';
import { Summary } from '../profile/summary';
import { useProfileWords } from '../profile/words';
import { useProgression } from '../progression';

export function Me({ account: { client, player } }: { account: Account }) {
  const words = useProfileWords();
  const { state: whole, gone, pending, me } = useMe(client);
  const { status } = useConnection(client);
  const away = useAway(client);
  const current = useMemo(() => whole && shownOf(whole), [whole]);
  const last = useKept(player.id, 'profile', current, isShownProfile);
  const { progression, failed, retry } = useProgression();
  const offline = current === null && away ? last : null;
  const state = current ?? offline?.value ?? null;
  useTitle(words.profile);

  if (gone) return <Gone reason={gone} />;
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
