// The connection's state, always visible.
import type { Client } from '@raidhall/client';
import { useConnection, useMe } from '@raidhall/client/react';
import { useEffect, useState } from 'react';
import { tellsSeen } from '../seen';
import { useWords } from '../settings';

/** While online, the count of waiting commands is shown once replies take longer than this. */
const LATE_MS = 1_000;

export function ConnectionState({ client }: { client: Client }) {
  const words = useWords();
  const { status, waiting: commands } = useConnection(client);
  // Commands that say what was seen come from the app, not from the player.
  const waiting = commands - useMe(client).pending.filter(({ cmd }) => tellsSeen(cmd)).length;
  const [now, tick] = useState(Date.now);
  const counting = status.state === 'waiting';
  useEffect(() => {
    if (!counting) return;
    tick(Date.now());
    const timer = setInterval(() => tick(Date.now()), 500);
    return () => clearInterval(timer);
  }, [counting]);
  const late = useLasting(waiting > 0, LATE_MS);
  const text =
    status.state === 'online' ? words.online
    : status.state === 'waiting' ? words.reconnecting
    : status.state === 'stopped' ? words.stopped[status.reason]
    : words.connecting;
  return (
    <div className={`connection ${status.state}`} data-connection={status.state}>
      <span className="lamp" aria-hidden="true" />
      <span role="status">{text}{waiting > 0 && (late || status.state !== 'online') && <b> {words.waiting(waiting)}</b>}</span>
      {/* Hidden from screen readers, which would announce it each second. */}
      {counting && <span className="retry-in" aria-hidden="true">{words.inSeconds(Math.max(1, Math.ceil((status.until - now) / 1_000)))}</span>}
      {(counting || status.state === 'stopped') && <button type="button" className="quiet icon" aria-label={words.retryNow} title={words.retryNow} onClick={() => client.retryNow()}>↻</button>}
    </div>
  );
}

/** Returns true once `is` has been true for `milliseconds` without a break. */
function useLasting(is: boolean, milliseconds: number): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    if (!is) return;
    const timer = setTimeout(() => setLasting(true), milliseconds);
    return () => {
      clearTimeout(timer);
      setLasting(false);
    };
  }, [is, milliseconds]);
  return lasting;
}
