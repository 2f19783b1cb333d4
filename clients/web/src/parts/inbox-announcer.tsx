// Tells screen readers of a notification that has come.
import type { Client, InboxItem } from '@raidhall/client';
import { useMe } from '@raidhall/client/react';
import { useEffect, useState } from 'react';
import { textOf, unreadOf } from '../inbox';
import { useWords } from '../settings';

/** How long the text stays, so that a screen reader that is busy reads it as well. */
const SAID_MS = 10_000;

export default function InboxAnnouncer({ client }: { client: Client }) {
  const words = useWords();
  const { state, seq: end } = useMe(client);
  const inbox = state?.inbox;
  const newest = unreadOf(inbox).at(-1);
  const seq = inbox && (newest?.seq ?? 0);
  /** The newest one that is announced, or was there when the page was opened. */
  const [last, setLast] = useState<number>();
  const [come, setCome] = useState<InboxItem>();
  useEffect(() => {
    if (last !== undefined && end < last) setLast(end); // the stream goes on from an earlier point
    if (seq === undefined || seq <= (last ?? -1)) return;
    setLast(seq);
    if (last !== undefined) setCome(newest);
  }, [seq, last, end]);
  useEffect(() => {
    if (!come) return;
    const timer = setTimeout(() => setCome(undefined), SAID_MS);
    return () => clearTimeout(timer);
  }, [come]);
  return <span className="unseen" role="status">{come && <span key={come.seq}>{words.notified(textOf(come, 'title'))}</span>}</span>;
}
