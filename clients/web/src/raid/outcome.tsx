// The result of an ended raid: the ranking, or why it was lost.
import { goToLobby } from '../route';
import { useWords } from '../settings';
import { usePlay, useScene } from './play';

export function Outcome() {
  const words = useWords();
  const { me } = usePlay();
  const { shown } = useScene();
  if (shown.status === 'failed') {
    return (
      <section className="outcome panel defeat" aria-labelledby="outcome">
        <h2 id="outcome">{words.defeat}</h2>
        <p>{shown.reason && words.defeatText[shown.reason]}</p>
        <button type="button" className="primary" onClick={() => goToLobby()}>{words.backToRaids}</button>
      </section>
    );
  }
  if (shown.status !== 'completed') return null;
  return (
    <section className="outcome panel victory" aria-labelledby="outcome">
      <h2 id="outcome">{words.victory}</h2>
      <p>{words.victoryText(shown.ranking?.length === 1)}</p>
      <ol className="ranking" aria-label={words.ranking}>
        {shown.ranking?.map(({ player, name, xp, tasks, rank }) => (
          <li key={player} className={`place-${rank}${player === me ? ' own' : ''}`}>
            <span className="place" aria-label={words.rank(rank)}>{rank}</span>
            <span className="grow">{name} {rank === 1 && <b className="mvp">{words.mvp}</b>}</span>
            <small>{words.memberXp(xp, tasks)}</small>
          </li>
        ))}
      </ol>
      <button type="button" className="primary" onClick={() => goToLobby()}>{words.backToRaids}</button>
    </section>
  );
}
