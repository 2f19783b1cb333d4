// The result of an ended raid: the ranking, or why it was lost and who contributed what.
import type { Member } from '@raidhall/client';
import { goToLobby } from '../route';
import { useWords } from '../settings';
import { usePlay, useScene } from './play';
import { Face, LevelInWords, StreakOf } from './progress';

export function Outcome() {
  const words = useWords();
  const { shown } = useScene();
  const { status, reason, ranking, members } = shown;
  if (status !== 'completed' && status !== 'failed') return null;
  const won = status === 'completed';
  return (
    <section className={`outcome panel ${won ? 'victory' : 'defeat'}`} aria-labelledby="outcome">
      <h2 id="outcome">{won ? words.victory : words.defeat}</h2>
      <p>{won ? words.victoryText(ranking?.length === 1) : reason && words.defeatText[reason]}</p>
      {won
        ? <ol className="ranking" aria-label={words.ranking}>{ranking?.map(entry => <Contribution key={entry.player} {...entry} />)}</ol>
        : <ul className="ranking" aria-label={words.contributions}>{byXp(members).map(member => <Contribution key={member.player} {...member} />)}</ul>}
      <button type="button" className="primary" onClick={() => goToLobby()}>{words.backToRaids}</button>
    </section>
  );
}

const byXp = (members: readonly Member[]): readonly Member[] => [...members].sort((one, other) => other.xp - one.xp || other.tasks - one.tasks);

/** A player's XP and tasks; `rank` is their place after a victory. */
function Contribution({ player, name, xp, tasks, rank }: Pick<Member, 'player' | 'name' | 'xp' | 'tasks'> & { rank?: number }) {
  const words = useWords();
  const { me } = usePlay();
  const standing = useScene().standings.get(player);
  return (
    <li className={`${rank === 1 ? 'place-1' : ''}${player === me ? ' own' : ''}`}>
      {rank !== undefined && <span className="place" aria-label={words.rank(rank)}>{rank}</span>}
      <Face player={player} name={name} standing={standing} />
      <div className="grow">
        <p><bdi>{name}</bdi><LevelInWords standing={standing} /> {rank === 1 && <b className="mvp">{words.mvp}</b>}</p>
        <p className="row"><small>{words.memberXp(xp, tasks)}</small><StreakOf standing={standing} /></p>
      </div>
    </li>
  );
}
