// The player's rewards as a short list, which goes by itself. On a narrow screen it is in the header,
// where it covers no button of a raid.
import type { Progression } from '@raidhall/client';
import { Suspense } from 'react';
import { dismissRewards, rewards } from '../effects/rewards';
import type { Words } from '../i18n/en';
import { achievementOf, itemOf, progression } from '../progression';
import type { Reward } from '../rewards';
import { useSettings, useWords } from '../settings';
import type { Settings } from '../settings';
import { useValue } from '../value';
import { optional } from './optional';
import { quote, Sentence } from './sentence';

const Icon = optional(() => import('./icon'));

export function Rewards() {
  const words = useWords();
  const shown = useValue(rewards);
  return (
    <div className={`rewards ${shown.length > 0 ? 'any' : ''}`}>
      <div role="log" aria-label={words.rewards}>
        <ul>{shown.map(({ id, reward }) => <Line key={id} reward={reward} />)}</ul>
      </div>
      {shown.length > 0 && <button type="button" className="quiet icon" aria-label={words.close} onClick={dismissRewards}>✕</button>}
    </div>
  );
}

function Line({ reward }: { reward: Reward }) {
  const words = useWords();
  const { language } = useSettings();
  const { icon, text, why } = lineOf(reward, words, language, useValue(progression));
  return <li className={reward.kind === 'away' ? 'away' : ''}>{icon && <Suspense fallback={<span className="icon-of" />}><Icon name={icon} /></Suspense>}<span><b><Sentence text={text} /></b>{why && <small> <Sentence text={why} /></small>}</span></li>;
}

interface RewardLine {
  readonly icon?: string;
  /** For `Sentence`, like the reason. */
  readonly text: string;
  readonly why?: string;
}

function lineOf(reward: Reward, words: Words, language: Settings['language'], definitions: Progression | null): RewardLine {
  const gift = (note: string | null): string => (note ? words.giftOf(quote(note)) : words.gift);
  switch (reward.kind) {
    case 'level':
      return { icon: 'up', text: words.levelIs(reward.level), why: words.levelReached };
    case 'achievement': {
      const found = achievementOf(definitions, reward.id);
      return { icon: found?.icon ?? 'star', text: found?.[language].title ?? words.achievement, why: words.achievementUnlocked(reward.tier) };
    }
    case 'item': {
      const found = itemOf(definitions, reward.item);
      return { icon: 'gift', text: found?.[language] ?? words.item, why: words.gift };
    }
    case 'streak':
      return { icon: 'phoenix', text: words.daysOf(reward.days), why: words.streakKept };
    case 'xp': {
      const { source, note, times, limited } = reward;
      const from = source === 'grant' ? gift(note) : words.xpFrom[source](times);
      return { icon: 'spark', text: words.gain(reward.xp), why: limited ? `${from}, ${words.dailyLimit}` : from };
    }
    case 'coins': {
      const { reason, note, coins } = reward;
      return { icon: 'coin', text: words.coinsGained(coins), why: reason === 'victory' || reason === 'mvp' ? words.coinsFrom[reason] : gift(note) };
    }
    case 'away': {
      const { xp, level, achievements, items, coins } = reward;
      const gains = [
        xp > 0 && words.gain(xp), level !== null && words.awayLevel(level), achievements > 0 && words.awayAchievements(achievements),
        items > 0 && words.awayItems(items), coins > 0 && words.coinsGained(coins),
      ].filter(gain => gain !== false);
      return { icon: 'gift', text: words.away(gains) };
    }
    case 'more':
      return { text: words.moreRewards(reward.count) };
  }
}
