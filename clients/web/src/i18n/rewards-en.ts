// The texts of rewards, in English. They are loaded once the player is signed in.
import { many, n } from './en';

export const rewardsEn = {
  streakOf: (days: number) => `${n(days)}-day streak`,
  streakKept: 'kept',
  levelReached: 'reached',
  achievement: 'Achievement',
  achievementUnlocked: (tier: number) => (tier > 1 ? `achievement, tier ${n(tier)}` : 'achievement'),
  item: 'New item',
  coinsGained: (count: number) => `+${many(count, 'coin', 'coins')}`,
  xpFrom: {
    task: (times: number): string => (times === 1 ? 'task' : many(times, 'task', 'tasks')),
    contribution: (times: number): string => (times === 1 ? 'contribution' : many(times, 'contribution', 'contributions')),
  },
  coinsFrom: { victory: 'victory', mvp: 'first place' },
  gift: 'gift',
  giftOf: (note: string) => `gift: ${note}`,
  dailyLimit: 'daily limit reached',
  away: (gains: readonly string[]) => `While you were away: ${gains.join(', ')}`,
  awayLevel: (level: number) => `level ${n(level)}`,
  awayAchievements: (count: number) => many(count, 'achievement', 'achievements'),
  awayItems: (count: number) => many(count, 'item', 'items'),
  moreRewards: (count: number) => `and ${n(count)} more`,
};

export type RewardTexts = typeof rewardsEn;
