// The player's rewards as a short list, which disappears by itself. On a narrow screen it is in the
// header, where it covers no button of a raid.
import { Suspense } from 'react';
import { dismissRewards, rewards } from '../effects/rewards';
import { useWords } from '../settings';
import { useValue } from '../value';
import { optional } from './optional';

const RewardLine = optional(() => import('./reward-line'));

export function Rewards() {
  const words = useWords();
  const shown = useValue(rewards);
  return (
    <div className={`rewards ${shown.length > 0 ? 'any' : ''}`}>
      <div role="log" aria-label={words.rewards}>
        <ul>{shown.map(({ id, reward }) => <li key={id} className={reward.kind === 'away' ? 'away' : ''}><Suspense><RewardLine reward={reward} /></Suspense></li>)}</ul>
      </div>
      {shown.length > 0 && <button type="button" className="quiet icon" aria-label={words.close} onClick={dismissRewards}>✕</button>}
    </div>
  );
}
