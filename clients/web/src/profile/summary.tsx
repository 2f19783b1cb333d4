// The player's name, level and totals.
import type { Progression } from '@raidhall/client';
import { Avatar } from '../parts/avatar';
import { Bar } from '../parts/bar';
import { itemOf } from '../progression';
import { useSettings } from '../settings';
import type { ShownProfile } from './shown';
import { useProfileWords } from './words';

export function Summary({ state, progression }: { state: ShownProfile; progression: Progression | null }) {
  const words = useProfileWords();
  const { language } = useSettings();
  const { id, name, level, level_xp, next_level_xp, coins, xp, earned_xp, raids_won, raids_played, tasks, equipped } = state;
  const title = itemOf(progression, equipped.title)?.[language];
  const totals = [
    [words.coins, words.number(coins)],
    [words.countedXp, words.number(xp)],
    [words.raidsWon, words.countOf(raids_won, raids_played)],
    [words.tasksDone, words.number(tasks)],
  ] as const;
  return (
    <section className="panel summary" aria-labelledby="profile-name">
      <div className="who">
        <Avatar player={id} name={name} frame={equipped.frame} />
        <div className="grow">
          <h1 id="profile-name"><bdi>{name}</bdi></h1>
          {title && <p className="worn-title">{title}</p>}
        </div>
      </div>
      <div className="gauge" id="level-gauge">
        <span className="row"><span className="grow">{words.levelIs(level)}</span><small>{words.toNextLevel(next_level_xp - level_xp, level + 1)}</small></span>
        <Bar label={words.levelIs(level)} text={words.xpOf(level_xp, next_level_xp)} value={level_xp} max={next_level_xp} tone="xp" />
      </div>
      <dl className="totals">
        {totals.map(([label, text]) => <div key={label}><dt>{label}</dt><dd>{text}</dd></div>)}
      </dl>
      {progression && earned_xp > xp && <p className="dim">{words.allXp(earned_xp, progression.casual_xp_per_day, progression.ranked_xp_per_day)}</p>}
    </section>
  );
}
