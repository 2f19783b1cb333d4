import type { RewardTexts } from './rewards-en';
import { many, n } from './ru';

export const rewardsRu: RewardTexts = {
  streakOf: days => `Серия: ${many(days, 'день', 'дня', 'дней')}`,
  streakKept: 'продолжается',
  levelReached: 'достигнут',
  achievement: 'Достижение',
  achievementUnlocked: tier => (tier > 1 ? `достижение, ступень ${n(tier)}` : 'достижение'),
  item: 'Новый предмет',
  coinsGained: count => `+${many(count, 'монета', 'монеты', 'монет')}`,
  xpFrom: {
    task: times => (times === 1 ? 'задача' : many(times, 'задача', 'задачи', 'задач')),
    contribution: times => (times === 1 ? 'вклад' : many(times, 'вклад', 'вклада', 'вкладов')),
  },
  coinsFrom: { victory: 'победа', mvp: 'первое место' },
  gift: 'подарок',
  giftOf: note => `подарок: ${note}`,
  dailyLimit: 'дневной лимит исчерпан',
  away: gains => `Пока вас не было: ${gains.join(', ')}`,
  awayLevel: level => `уровень ${n(level)}`,
  awayAchievements: count => many(count, 'достижение', 'достижения', 'достижений'),
  awayItems: count => many(count, 'предмет', 'предмета', 'предметов'),
  moreRewards: count => `и ещё ${n(count)}`,
};
