import { RaidhallError } from '@raidhall/client';
import { useEffect, useState } from 'react';
import type { Account } from '../account';
import { complainOfCode } from '../notices';
import { goToLobby, goToRaid } from '../route';
import { useWords } from '../settings';

/**
 * Joins the raid of an invite link and goes there. The link leaves no entry in the browser's
 * history.
 */
export function Invited({ account: { rest }, code }: { account: Account; code: string }) {
  const words = useWords();
  const [attempt, setAttempt] = useState(0);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let ended = false;
    rest.joinRaid(code).then(
      ({ id }) => ended || goToRaid(id, 'replace'),
      error => {
        if (ended) return;
        complainOfCode(error);
        if (error instanceof RaidhallError && error.retry) setFailed(true);
        else goToLobby('replace');
      },
    );
    return () => {
      ended = true;
    };
  }, [rest, code, attempt]);
  const again = (): void => {
    setFailed(false);
    setAttempt(attempt + 1);
  };
  return (
    <section className="page narrow panel">
      <p className="code big">{code}</p>
      {failed ? <button type="button" className="primary" onClick={again}>{words.join}</button> : <p className="dim" role="status">{words.loading}</p>}
    </section>
  );
}
