import type { RaidhallErrorType, WatchedPlayer } from '@raidhall/client';
import { goToLobby } from '../route';
import { useWords } from '../settings';

/** Says why a page about the player has nothing to show. */
export function Gone({ reason }: { reason: NonNullable<WatchedPlayer['gone']> }) {
  const words = useWords();
  const type: RaidhallErrorType = reason === 'unsupported' || reason === 'not_found' ? reason : 'forbidden';
  return (
    <section className="page narrow panel">
      <h1>{words.errors[type]}</h1>
      <button type="button" className="primary" onClick={() => goToLobby()}>{words.back}</button>
    </section>
  );
}
