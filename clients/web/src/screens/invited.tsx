import { useEffect } from 'react';
import type { Account } from '../account';
import { complain } from '../notices';
import { goToLobby, goToRaid } from '../route';
import { useWords } from '../settings';

/** Whoever opens an invite link joins, and is in the raid. */
export function Invited({ account: { rest }, code }: { account: Account; code: string }) {
  const words = useWords();
  useEffect(() => {
    let ended = false;
    rest.joinRaid(code).then(
      ({ id }) => ended || goToRaid(id, 'replace'),
      error => {
        if (ended) return;
        complain(error);
        goToLobby();
      },
    );
    return () => {
      ended = true;
    };
  }, [rest, code]);
  return <p className="page dim">{words.loading}</p>;
}
