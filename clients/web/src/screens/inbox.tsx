// The player's notifications, the newest first. **They are read once the player looks at the page**,
// on all of the player's devices; here they stay marked as new until the page is left.
import '../styles/inbox.css';
import type { Seq } from '@raidhall/client';
import { useConnection, useMe } from '@raidhall/client/react';
import { useEffect, useMemo, useState } from 'react';
import type { Account } from '../account';
import { noticed } from '../effects/teller';
import { isShown } from '../inbox';
import { Card } from '../inbox/card';
import { areNotifications } from '../inbox/kept';
import { useAttention } from '../inbox/use-attention';
import { useInboxWords } from '../inbox/words';
import { Gone } from '../parts/gone';
import { OfflineNotice } from '../parts/offline-notice';
import { useAway } from '../play/use-away';
import { useKept } from '../play/use-kept';
import { useNow } from '../play/use-raid';
import { useTitle } from '../play/use-title';

export function Inbox({ account: { client, player } }: { account: Account }) {
  const words = useInboxWords();
  const { state, gone } = useMe(client);
  const { status } = useConnection(client);
  const away = useAway(client);
  const now = useNow(client, 10_000);
  const inbox = state?.inbox;
  const current = useMemo(() => inbox?.items.filter(isShown) ?? null, [inbox]);
  const last = useKept(player.id, 'inbox', current, areNotifications);
  const offline = current === null && away ? last : null;
  const shown = current ?? offline?.value ?? null;
  const looks = useAttention();
  /** Notifications that were unread when the player saw them on this page. */
  const [seen, setSeen] = useState<ReadonlySet<Seq>>(new Set());
  useEffect(() => {
    const unread = inbox?.items.filter(({ read }) => !read) ?? [];
    const newest = unread.at(-1);
    if (!looks || !newest) return;
    setSeen(before => new Set([...before, ...unread.map(({ seq }) => seq)]));
    noticed.set(newest.seq);
  }, [inbox, looks]);
  useTitle(words.inbox);

  if (gone) return <Gone reason={gone} />;
  if (!shown) return <p className="page dim" role="status">{status.state === 'stopped' ? words.stopped[status.reason] : away ? words.offlineInbox : words.loading}</p>;
  return (
    <section className="inbox" aria-labelledby="inbox">
      {offline && <OfflineNotice at={offline.at} />}
      <h1 id="inbox">{words.inbox}</h1>
      {shown.length === 0 && <p className="panel dim">{words.noNotifications}</p>}
      <ul>{[...shown].reverse().map(item => <Card key={item.seq} item={item} isNew={!item.read || seen.has(item.seq)} now={now} />)}</ul>
    </section>
  );
}
