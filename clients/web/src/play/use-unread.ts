// Chat messages that the player has not seen in this browser.
import type { PlayerId, RaidId, RaidState, Seq } from '@raidhall/client';
import { useCallback, useEffect, useState } from 'react';
import { keepWhileSignedIn } from '../account';
import { load } from '../kept-raids';

export interface Unread {
  readonly unread: number;
  /** Marks a message and all before it as seen. */
  readonly see: (message: Seq) => void;
}

/** Messages from before the raid was first opened here count as seen. */
export function useUnread(me: PlayerId, id: RaidId, state: RaidState | null): Unread {
  const [seen, setSeen] = useState(() => load('seen', me, id)?.value ?? null);
  const first = seen === null && state ? (state.messages.at(-1)?.seq ?? 0) : null;
  const see = useCallback((message: Seq) => setSeen(old => Math.max(old ?? 0, message)), []);
  useEffect(() => {
    if (first !== null) see(first);
  }, [first, see]);
  useEffect(() => {
    // Another tab may have seen more.
    if (seen !== null) keepWhileSignedIn('seen', me, id, Math.max(seen, load('seen', me, id)?.value ?? 0));
  }, [me, id, seen]);
  const unread = seen === null ? 0 : (state?.messages.filter(({ seq, by }) => seq > seen && by !== me).length ?? 0);
  return { unread, see };
}
