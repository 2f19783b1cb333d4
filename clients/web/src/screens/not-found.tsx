import { goToLobby } from '../route';
import { useWords } from '../settings';

export function NotFound() {
  const words = useWords();
  return (
    <section className="page narrow panel">
      <h1>{words.notFound}</h1>
      <p className="dim">{words.notFoundText}</p>
      <button type="button" className="primary" onClick={() => goToLobby()}>{words.home}</button>
    </section>
  );
}
