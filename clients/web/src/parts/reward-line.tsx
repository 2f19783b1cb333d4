// One reward in words, with the names of achievements and items in the definitions.
import type { Progression } from '@raidhall/client';
import type { Words } from '../i18n/en';
import { pageWords } from '../i18n/page-words';
import { rewardsEn } from '../i18n/rewards-en';
import type { RewardTexts } from '../i18n/rewards-en';
import { rewardsRu } from '../i18n/rewards-ru';
import { achievementOf, itemOf, progression } from '../progression';
import type { Reward } from '../rewards';
import { useSettings } from '../settings';
import type { Settings } from '../settings';
import { useValue } from '../value';
import Icon from './icon';
import { quote, Sentence } from './sentence';

const useRewardWords = pageWords(rewardsEn, rewardsRu);

export default function RewardLine({ reward }: { reward: Reward }) {
  const words = useRewardWords();
  const { language } = useSettings();
  const { icon, text, why } = lineOf(reward, words, language, useValue(progression));
  return <>{icon && <Icon name={icon} />}<span><b><Sentence text={text} /></b>{why && <small> <Sentence text={why} /></small>}</span></>;
}

interface LineTexts {
  readonly icon?: string;
  /** For `Sentence`, like the reason. */
  readonly text: string;
  readonly why?: string;
}

function lineOf(reward: Reward, words: Words & RewardTexts, language: Settings['language'], definitions: Progression | null): LineTexts {
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
      return { icon: 'phoenix', text: words.streakOf(reward.days), why: words.streakKept };
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
