// All achievements; locked ones show the player's progress.
import type { Achievement, PlayerState, Progression } from '@raidhall/client';
import { Bar } from '../parts/bar';
import Icon from '../parts/icon';
import { useSettings } from '../settings';
import { useProfileWords } from './words';

type Owned = Pick<PlayerState, 'achievements' | 'counters'>;

export function Achievements({ state, progression }: { state: Owned; progression: Progression }) {
  const words = useProfileWords();
  const unlocked = progression.achievements.filter(({ id }) => tierOf(state, id) > 0).length;
  return (
    <section className="panel achievements" aria-labelledby="achievements">
      <div className="row"><h2 id="achievements" className="grow">{words.achievements}</h2><small>{words.countOf(unlocked, progression.achievements.length)}</small></div>
      {unlocked === 0 && <p className="dim">{words.noAchievements}</p>}
      <ul>{progression.achievements.map(achievement => <AchievementCard key={achievement.id} achievement={achievement} state={state} />)}</ul>
    </section>
  );
}

const tierOf = ({ achievements }: Owned, id: string): number => achievements.find(unlocked => unlocked.id === id)?.tier ?? 0;

function AchievementCard({ achievement, state }: { achievement: Achievement; state: Owned }) {
  const words = useProfileWords();
  const { language } = useSettings();
  const { id, icon, tiers } = achievement;
  const { title, text } = achievement[language];
  const tier = tierOf(state, id);
  const counter = state.counters.find(moved => moved.id === id);
  const value = counter?.value ?? 0;
  const goal = counter ? counter.goal : (tiers[0]?.goal ?? null);
  const progress = goal === null ? null : words.countOf(value, goal);
  return (
    <li className={`achievement ${tier > 0 ? 'unlocked' : ''}`} data-achievement={id}>
      <Icon name={icon} />
      <div className="grow">
        <div className="row"><h3 className="grow">{title}</h3>{tier > 0 && <small className="tier">{tiers.length > 1 ? words.tierOf(tier, tiers.length) : words.unlocked}</small>}</div>
        <p className="dim">{text}</p>
        {goal !== null && progress && <div className="row"><Bar label={title} text={progress} value={value} max={goal} tone="goal" /><small aria-hidden="true">{progress}</small></div>}
      </div>
    </li>
  );
}
